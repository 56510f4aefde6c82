"""How many requests are worked on at once, of one address and of all together, sockets and long-polling apart.

A view takes a thread, and threads take the interpreter from the event loop and from each other. A view goes on when its client
is gone: who asks and leaves would pile them up. One that is too many waits for a moment, which costs nothing, and slows those
down who ask as fast as they can: to refuse them at once would take most of the time that is there.

Of what all addresses have in common, a request takes a place for as long as there is a thread for it: not while its body
comes or its answer goes, or those who do that slowly would have all places for nothing.

The place of its address it leaves when its answer begins, too, as its client may be slow to read. A number may do so at a time;
more than that keep their places until they have been read.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from events.asgi_types import Application, Receive, Scope, Send
from events.limits.address import limit_key
from events.places import Places
from events.try_again import try_again

#: One that is too many of its address is refused after so long.
PATIENCE_S: Final = 1.0

#: One that is too many of all. It is not to blame, so it waits longer.
PATIENCE_WITH_ALL_S: Final = 5.0

#: Of all addresses together, as many are worked on as of so many of them that have all they may have.
ADDRESSES: Final = 2

#: Paths of which each has places of its own, beside those for all else: neither who looks at pages keeps events out, nor a
#: store that does not answer the question for health.
APART: Final = ("/api/events", "/health")

#: The page that checks passwords, one at a time (`events.access.login`): so many wait for that there, each with a thread.
#: Others wait here, without one.
LOGIN: Final = "/admin/login"
LOGINS: Final = 4

#: Answers of one address that may be under way besides.
ANSWERS: Final = 64

TOO_MANY: Final = (
    "Your address has as many requests under way as it may have (WS_MAX_REQUESTS_PER_ADDRESS). Try again in a second."
)

CROWDED: Final = "The server has as many requests under way as it works on at once. Try again in a second."


class _Party:
    """The requests of one address: the places where they are worked on, first come first served, how many there are, and of how
    many the answer is under way."""

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)
        self.requests = 0
        self.answers = 0


class _Place:
    """What a request has of the places for all: taken when it has arrived, left when its answer begins."""

    def __init__(self, places: Places, party: str, receive: Receive, send: Send) -> None:
        self._places = places
        self._party = party
        self._receive = receive
        self._send = send
        self._taken = False
        #: Whether there was none, and nothing was done for the request.
        self.refused = False

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            try:
                async with asyncio.timeout(PATIENCE_WITH_ALL_S):
                    await self._places.take(self._party)
            except TimeoutError:
                # Of whoever is gone the application wants no more, and has not begun to work.
                self.refused = True
                return {"type": "http.disconnect"}
            self._taken = True
        return message

    async def send(self, message: dict[str, Any]) -> None:
        self.leave()
        await self._send(message)

    def leave(self) -> None:
        if self._taken:
            self._taken = False
            self._places.leave()


class RequestDoor:
    """An ASGI application in front of another one.

    application: ends when the work on a request has ended, whether or not the client is still there
    per_address: requests of one address that it works on at once; of all, `ADDRESSES` times as many of a kind, and few logins
    refused:     is told the rule, `requests`, for each that was not taken
    """

    def __init__(self, application: Application, per_address: int, refused: Callable[[str], None]) -> None:
        self._application = application
        self._per_address = per_address
        self._refused = refused
        self._parties: dict[str, _Party] = {}
        self._places = {path: Places(ADDRESSES * per_address) for path in (*APART, "")} | {LOGIN: Places(LOGINS)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = limit_key((scope.get("client") or ("",))[0])
        if not key:
            await self._application(scope, receive, send)
            return
        party = self._parties.setdefault(key, _Party(self._per_address))
        party.requests += 1
        try:
            await self._work(party, key, scope, receive, send)
        finally:
            party.requests -= 1
            if not party.requests:
                del self._parties[key]

    async def _work(self, party: _Party, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await party.places.acquire()
        except TimeoutError:
            await self._refuse(send, TOO_MANY)
            return
        works = True

        async def answer(message: dict[str, Any]) -> None:
            nonlocal works
            if works and message["type"] == "http.response.start" and party.answers < ANSWERS:
                works = False
                party.answers += 1
                party.places.release()
            await send(message)

        place = _Place(self._places_for(scope["path"]), key, receive, answer)
        try:
            await self._application(scope, place.receive, place.send)
            if place.refused:
                await self._refuse(send, CROWDED)
        finally:
            place.leave()
            if works:
                party.places.release()
            else:
                party.answers -= 1

    def _places_for(self, path: str) -> Places:
        return self._places[next((apart for apart in (*APART, LOGIN) if path.startswith(apart)), "")]

    async def _refuse(self, send: Send, message: str) -> None:
        self._refused("requests")
        await try_again(send, 429, message)
