"""Subscribing with asyncio."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self

from websockets.asyncio.client import connect

from workflow_events.conversation import Conversation, Leave, Send, WantToken
from workflow_events.items import Event, Item, Missed
from workflow_events.link import TRANSIENT, Link, Subscriber, given_token, websocket_uri, why
from workflow_events.topics import Position, topics

#: A token, or what gives a new one for each connection.
Token = str | Callable[[], str | Awaitable[str]] | None


class AsyncClient:
    """Subscriptions to one server. Each has a connection of its own, made when it is first iterated.

    url:               `http://localhost:8001`; https, ws and wss do as well, and so does a path before the server's own
    token:             a string, or a function (async or not) that is asked at each connection, so that tokens may expire
    on_missed:         is called for events that will not come; without it they are logged as warnings
    give_up_s:         raise `ConnectionFailed` when there is no subscription for so long; by default it tries for ever
    max_message_bytes: bound of one message of the server
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token = None,
        on_missed: Callable[[Missed], object] | None = None,
        give_up_s: float | None = None,
        max_message_bytes: int = 64 << 20,
    ) -> None:
        self._link = Link(websocket_uri(url), max_message_bytes, give_up_s, on_missed)
        self._token = token

    def subscribe(
        self,
        *,
        workflow: str | Iterable[str] | None = None,
        bot: str | Iterable[str] | None = None,
        strategy: str | Iterable[str] | None = None,
        everything: bool = False,
        types: Iterable[str] | None = None,
        snapshot: bool = False,
        resume: Position | None = None,
    ) -> "AsyncSubscription":
        """Events of workflows, bots and strategies, each by one id or several, or of everything. An event of several of them
        comes once.

        types:    only events of these types
        snapshot: let `items()` begin with the states of the executions
        resume:   the `position` of an earlier subscription, to go on from there
        """
        found = topics(everything=everything, workflow=workflow, bot=bot, strategy=strategy)
        conversation = Conversation(found, types=types, snapshot=snapshot, resume=resume)
        return AsyncSubscription(Subscriber(self._link, conversation), self._token)


class AsyncSubscription:
    """Events, for as long as they are iterated. It reconnects by itself and goes on where it was.

    Nothing runs in the background: while nobody iterates, nothing is read, and the server keeps what comes.
    """

    def __init__(self, subscriber: Subscriber, token: Token) -> None:
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
            self._subscriber.conversation.begin()
            try:
                async with connect(self._subscriber.link.uri, **self._subscriber.link.options) as socket:
                    while leave is None:
                        for effect in self._subscriber.conversation.receive(await socket.recv()):
                            if isinstance(effect, Send):
                                await socket.send(effect.text)
                            elif isinstance(effect, WantToken):
                                token = given_token(await self._ask_token())
                                await socket.send(self._subscriber.conversation.authenticate(token).text)
                            elif isinstance(effect, Leave):
                                leave = effect
                            else:
                                yield effect
            except TRANSIENT as error:
                leave = why(error)
            lost = self._subscriber.lost(leave)
            yield lost
            await asyncio.sleep(lost.retry_in_s)

    async def _ask_token(self) -> str | None:
        token = self._token() if callable(self._token) else self._token
        return await token if inspect.isawaitable(token) else token
