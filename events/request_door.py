"""How many requests of one address are worked on at once, sockets and long-polling apart.

A view takes a thread, and threads take the interpreter from the event loop and from each other. A view goes on when its client
is gone: who asks and leaves would pile them up. One that is too many waits for a moment, which costs nothing, and slows those
down who ask as fast as they can: to refuse them at once would take most of the time that is there.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from events.asgi_types import Application, Receive, Scope, Send
from events.limits.address import limit_key
from events.try_again import try_again

#: One that is too many is refused after so long.
PATIENCE_S: Final = 1.0

TOO_MANY: Final = (
    "Your address has as many requests under way as it may have (WS_MAX_REQUESTS_PER_ADDRESS). Try again in a second."
)


class _Party:
    """The requests of one address: the places where they are worked on, first come first served, and how many there are."""

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)
        self.requests = 0


class RequestDoor:
    """An ASGI application in front of another one.

    application: ends when the work on a request has ended, whether or not the client is still there
    per_address: requests of one address that it works on at once
    refused:     is told the rule, `requests`, for each that was not taken
    """

    def __init__(self, application: Application, per_address: int, refused: Callable[[str], None]) -> None:
        self._application = application
        self._per_address = per_address
        self._refused = refused
        self._parties: dict[str, _Party] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = limit_key((scope.get("client") or ("",))[0])
        if not key:
            await self._application(scope, receive, send)
            return
        party = self._parties.setdefault(key, _Party(self._per_address))
        party.requests += 1
        try:
            await self._work(party, scope, receive, send)
        finally:
            party.requests -= 1
            if not party.requests:
                del self._parties[key]

    async def _work(self, party: _Party, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await party.places.acquire()
        except TimeoutError:
            self._refused("requests")
            await try_again(send, 429, TOO_MANY)
            return
        try:
            await self._application(scope, receive, send)
        finally:
            party.places.release()
