"""Subscribing without asyncio."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Self

from websockets.sync.client import ClientConnection, connect

from workflow_events.conversation import Conversation, Leave, Send, WantToken
from workflow_events.items import Event, Item, Missed
from workflow_events.link import TRANSIENT, Link, Subscriber, given_token, websocket_uri, why
from workflow_events.topics import Position, topics

#: A token, or what gives a new one for each connection.
Token = str | Callable[[], str] | None


class Client:
    """As `AsyncClient`, for code without asyncio."""

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
    ) -> "Subscription":
        """As `AsyncClient.subscribe`."""
        found = topics(everything=everything, workflow=workflow, bot=bot, strategy=strategy)
        conversation = Conversation(found, types=types, snapshot=snapshot, resume=resume)
        return Subscription(Subscriber(self._link, conversation), self._token)


class Subscription:
    """As `AsyncSubscription`; `close` may be called by another thread, and ends the iteration."""

    def __init__(self, subscriber: Subscriber, token: Token) -> None:
        self._subscriber = subscriber
        self._token = token
        self._closed = threading.Event()
        self._socket: ClientConnection | None = None
        self._items = self._run()

    @property
    def position(self) -> Position:
        """The place after the last event that was handed out, for `subscribe(resume=…)`."""
        return self._subscriber.conversation.position

    def items(self) -> Iterator[Item]:
        """Everything that happens: events, what is missed, snapshots, connections."""
        yield from self._items

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        for item in self._items:
            event = self._subscriber.event(item)
            if event is not None:
                return event
        raise StopIteration

    def close(self) -> None:
        """Close the connection."""
        self._closed.set()
        socket = self._socket
        if socket is not None:
            socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> Generator[Item, None, None]:
        while not self._closed.is_set():
            leave: Leave | None = None
            self._subscriber.conversation.begin()
            try:
                with connect(self._subscriber.link.uri, **self._subscriber.link.options) as socket:
                    self._socket = socket
                    while leave is None and not self._closed.is_set():
                        for effect in self._subscriber.conversation.receive(socket.recv()):
                            if isinstance(effect, Send):
                                socket.send(effect.text)
                            elif isinstance(effect, WantToken):
                                token = given_token(self._token() if callable(self._token) else self._token)
                                socket.send(self._subscriber.conversation.authenticate(token).text)
                            elif isinstance(effect, Leave):
                                leave = effect
                            else:
                                yield effect
            except TRANSIENT as error:
                leave = why(error)
            finally:
                self._socket = None
            if leave is None or self._closed.is_set():
                return
            lost = self._subscriber.lost(leave)
            yield lost
            self._closed.wait(lost.retry_in_s)
