"""Subscribing with asyncio."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection, connect

from workflow_events.conversation import Leave, Renew, Send, WantToken
from workflow_events.items import Event, Item
from workflow_events.link import TRANSIENT, Subscriber, given_token, why
from workflow_events.opening import Opening
from workflow_events.topics import Position

#: A token, or what gives a new one.
Token = str | Callable[[], str | Awaitable[str]]


class AsyncClient(Opening[Token, "AsyncSubscription"]):
    __doc__ = Opening.__doc__

    def _open(self, subscriber: Subscriber) -> "AsyncSubscription":
        return AsyncSubscription(subscriber, self._token)


class AsyncSubscription:
    """Events, for as long as they are iterated. It reconnects by itself and goes on where it was.

    Nothing runs in the background: while nobody iterates, nothing is read, and the server keeps what comes.
    """

    def __init__(self, subscriber: Subscriber, token: Token | None) -> None:
        self._subscriber = subscriber
        self._token = token
        self._items = self._run()

    @property
    def position(self) -> Position:
        """The place after the last event that was handed out, for `subscribe(resume=…)`."""
        return self._subscriber.conversation.position

    async def items(self) -> AsyncGenerator[Item, None]:
        """Everything that happens: events, what is missed, snapshots, connections."""
        async for item in self._items:
            yield item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        async for item in self._items:
            event = self._subscriber.event(item)
            if event is not None:
                return event
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the connection."""
        await self._items.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self) -> AsyncGenerator[Item, None]:
        while True:
            leave: Leave | None = None
            self._subscriber.begin()
            try:
                async with connect(self._subscriber.link.uri, **self._subscriber.link.options) as socket:
                    while leave is None:
                        for effect in self._subscriber.conversation.receive(await self._next(socket)):
                            if isinstance(effect, Send):
                                await socket.send(effect.text)
                            elif isinstance(effect, WantToken):
                                await self._send_token(socket, await self._ask_token())
                            elif isinstance(effect, Renew):
                                self._subscriber.renew(effect)
                            elif isinstance(effect, Leave):
                                leave = effect
                            else:
                                yield effect
            except TRANSIENT as error:
                leave = why(error)
            lost = self._subscriber.lost(leave)
            yield lost
            await asyncio.sleep(lost.retry_in_s)

    async def _next(self, socket: ClientConnection) -> str | bytes:
        """The next message. Meanwhile the token is renewed when it is time, however many messages there are."""
        while True:
            left = self._subscriber.renewal_in_s
            if left == 0:
                await self._renew(socket)
                continue
            try:
                async with asyncio.timeout(left):
                    return await socket.recv()
            except TimeoutError:
                continue

    async def _renew(self, socket: ClientConnection) -> None:
        self._subscriber.renewing()
        try:
            token = await self._ask_token()
        except TRANSIENT as error:
            self._subscriber.renewal_failed(error)
        else:
            await self._send_token(socket, token)

    async def _send_token(self, socket: ClientConnection, token: str | None) -> None:
        await socket.send(self._subscriber.conversation.authenticate(given_token(token)).text)

    async def _ask_token(self) -> str | None:
        token = self._token() if callable(self._token) else self._token
        return await token if inspect.isawaitable(token) else token
