"""Messages to clients, in the forms that their sockets want, each made at most once however many clients get it."""

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from typing import Any, Final, Protocol

import orjson

from events.domain.entry import Entry
from events.protocol.frames import text_frame


class Dialect(Enum):
    """How an event is written: a Socket.IO 5 EVENT on `/` within an Engine.IO message, or plain JSON."""

    SOCKETIO = "socketio"
    PLAIN = "plain"

    # Enum's own is a function in Python, and a message is looked up by its dialect for each delivery.
    __hash__ = object.__hash__

    def encode(self, name: str, body: bytes) -> bytes:
        """The text of one event whose data is the JSON `body`. Names are ours, and need no escaping."""
        return _FORMS[self] % (name.encode(), body)


_FORMS: Final = {Dialect.SOCKETIO: b'42["%b",%b]', Dialect.PLAIN: b'{"event":"%b","data":%b}'}


#: A text in UTF-8: whole, or in parts that other texts share.
Text = bytes | tuple[bytes, ...]


def joined(text: Text) -> bytes:
    """The whole of it."""
    return text if isinstance(text, bytes) else b"".join(text)


class WireMessage:
    """One text message, and the WebSocket frame of it when first asked for.

    text: what to keep of it while it waits for a client that wants no frame
    """

    __slots__ = ("_frame", "text")

    def __init__(self, text: Text) -> None:
        self.text = text
        self._frame: bytes | None = None

    @property
    def payload(self) -> bytes:
        return joined(self.text)

    @property
    def frame(self) -> bytes:
        if self._frame is None:
            self._frame = text_frame(self.payload)
        return self._frame


def unsent(frame: bytes) -> WireMessage:
    """What a socket did not take of a frame; only for a pipe that has a `direct`."""
    message = WireMessage(b"")
    message._frame = frame
    return message


def message(dialect: Dialect, name: str, data: Any) -> WireMessage:
    """The message of an event for one client."""
    return WireMessage(dialect.encode(name, orjson.dumps(data)))


class Delivery:
    """An entry on its way to the sessions of this process; holds its message in each dialect that was asked for."""

    __slots__ = ("_messages", "_type", "entry")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._messages: dict[Dialect, WireMessage] = {}
        self._type: str | None = None

    @property
    def type(self) -> str:
        """The event's type; read only when a client asked for some types."""
        if self._type is None:
            self._type = str(orjson.loads(self.entry.document)["type"])
        return self._type

    def message(self, dialect: Dialect) -> WireMessage:
        made = self._messages.get(dialect)
        if made is None:
            made = self._messages[dialect] = WireMessage(dialect.encode("workflow_event", self.entry.document))
        return made


class Bundle:
    """Messages that leave together: `frame` is all of their WebSocket frames in one piece."""

    __slots__ = ("frame", "messages")

    def __init__(self, messages: Sequence[WireMessage]) -> None:
        self.messages = messages
        self.frame = messages[0].frame if len(messages) == 1 else b"".join([message.frame for message in messages])


class Parcel:
    """The deliveries that a client gets in one step.

    Clients with the same subscriptions get the same ones, so they share a parcel: what is in it is joined and framed once
    for all of them. It holds the last delivery, and the parcel of those before it.
    """

    __slots__ = ("_before", "_bundles", "count", "delivery")

    def __init__(self, delivery: Delivery, before: "Parcel | None" = None) -> None:
        self.delivery = delivery
        self.count: int = 1 if before is None else before.count + 1
        self._before = before
        self._bundles: dict[Dialect, Bundle] = {}

    def followed_by(self, deliveries: Iterable[Delivery]) -> "Parcel":
        """A parcel of these deliveries behind those of this one."""
        parcel = self
        for delivery in deliveries:
            parcel = Parcel(delivery, parcel)
        return parcel

    @property
    def deliveries(self) -> list[Delivery]:
        """All of them, oldest first."""
        found: list[Delivery] = []
        parcel: Parcel | None = self
        while parcel is not None:
            found.append(parcel.delivery)
            parcel = parcel._before
        return found[::-1]

    def bundle(self, dialect: Dialect) -> Bundle:
        made = self._bundles.get(dialect)
        if made is None:
            deliveries = (self.delivery,) if self._before is None else self.deliveries
            made = self._bundles[dialect] = Bundle([delivery.message(dialect) for delivery in deliveries])
        return made


def replay_message(dialect: Dialect, entries: Collection[Entry]) -> WireMessage:
    """The `recent_events` message of some entries. It shares their documents, as it is a hundred times as long as an event, and
    many clients that poll may have one waiting."""
    before, after = dialect.encode("recent_events", b'{"events":[\0],"count":%d}' % len(entries)).split(b"\0")
    documents = [part for entry in entries for part in (b",", entry.document)]
    return WireMessage((before, *documents[1:], after))


class Pipe(Protocol):
    """A session's way out. What is handed over leaves in order or, when the connection is gone, not at all.

    Writing never blocks and never fails: a pipe whose connection is gone takes everything and sends nothing. The caller
    keeps `pending` bounded.
    """

    @property
    def direct(self) -> Callable[[bytes], int] | None:
        """A socket's own `send`, for frames: while nothing is queued, and nothing else stands in the way of writing to it.

        It tells how many bytes were taken, and raises `OSError` when that is none. The rest is to be written at once, as
        `unsent`. None for ways that have no such socket, and for now when there is something to consider: then `offer`.
        """

    @property
    def pending(self) -> int:
        """Bytes that were handed over and have not left this process yet."""

    def hold(self) -> None:
        """Keep what is written from now on until `release`, so that it leaves in as few writes as the pipe can; to be released
        before anything is waited for. Holding or releasing twice changes nothing."""

    def release(self) -> None: ...

    def write(self, message: WireMessage) -> None: ...

    def offer(self, bundle: Bundle, room: int) -> bool:
        """Hand over messages in as few writes to the socket as the pipe can. False, and nothing is taken, while more than
        `room` bytes are pending."""

    def write_binary(self, data: bytes) -> None: ...
