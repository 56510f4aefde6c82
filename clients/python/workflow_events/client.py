"""Subscribing without asyncio."""

import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Self

from websockets.sync.client import ClientConnection, connect

from workflow_events.conversation import Leave, Renew, Send, WantToken
from workflow_events.items import Event, Item
from workflow_events.link import TRANSIENT, Subscriber, given_token, why
from workflow_events.opening import Opening
from workflow_events.topics import Position

#: A token, or what gives a new one.
Token = str | Callable[[], str]


class Client(Opening[Token, "Subscription"]):
    """As `AsyncClient`, for code without asyncio."""

    def _open(self, subscriber: Subscriber) -> "Subscription":
        return Subscription(subscriber, self._token)


class Subscription:
    """As `AsyncSubscription`; `close` may be called by another thread, and ends the iteration."""

    def __init__(self, subscriber: Subscriber, token: Token | None) -> None:
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
            self._subscriber.begin()
            try:
                with connect(self._subscriber.link.uri, **self._subscriber.link.options) as socket:
                    self._socket = socket
                    while leave is None and not self._closed.is_set():
                        for effect in self._subscriber.conversation.receive(self._next(socket)):
                            if isinstance(effect, Send):
                                socket.send(effect.text)
                            elif isinstance(effect, WantToken):
                                self._send_token(socket, self._ask_token())
                            elif isinstance(effect, Renew):
                                self._subscriber.renew(effect)
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

    def _next(self, socket: ClientConnection) -> str | bytes:
        """The next message. Meanwhile the token is renewed when it is time, however many messages there are."""
        while True:
            left = self._subscriber.renewal_in_s
            if left == 0:
                self._renew(socket)
                continue
            try:
                return socket.recv(left)
            except TimeoutError:
                continue

    def _renew(self, socket: ClientConnection) -> None:
        self._subscriber.renewing()
        try:
            token = self._ask_token()
        except TRANSIENT as error:
            self._subscriber.renewal_failed(error)
        else:
            self._send_token(socket, token)

    def _send_token(self, socket: ClientConnection, token: str | None) -> None:
        socket.send(self._subscriber.conversation.authenticate(given_token(token)).text)

    def _ask_token(self) -> str | None:
        return self._token() if callable(self._token) else self._token
