"""Messages to clients, in the forms that their sockets want, each made at most once however many clients get it."""

from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any, Protocol

import orjson

from events.domain.entry import Entry
from events.protocol.frames import text_frame


class Dialect(Enum):
    """How an event is written: a Socket.IO 5 EVENT on `/` within an Engine.IO message, or plain JSON."""

    SOCKETIO = "socketio"
    PLAIN = "plain"

    def encode(self, name: str, body: bytes) -> bytes:
        """The text of one event whose data is the JSON `body`. Names are ours, and need no escaping."""
        if self is Dialect.SOCKETIO:
            return b'42["%b",%b]' % (name.encode(), body)
        return b'{"event":"%b","data":%b}' % (name.encode(), body)


class WireMessage:
    """One text message: its UTF-8 `payload`, and from it the WebSocket frame and the string when first asked for."""

    __slots__ = ("_frame", "_text", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._frame: bytes | None = None
        self._text: str | None = None

    @property
    def frame(self) -> bytes:
        if self._frame is None:
            self._frame = text_frame(self.payload)
        return self._frame

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = self.payload.decode()
        return self._text


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
        try:
            return self._messages[dialect]
        except KeyError:
            made = self._messages[dialect] = WireMessage(dialect.encode("workflow_event", self.entry.document))
            return made


def replay_message(dialect: Dialect, entries: Collection[Entry]) -> WireMessage:
    """The `recent_events` message of some entries."""
    body = b'{"events":[%b],"count":%d}' % (b",".join(entry.document for entry in entries), len(entries))
    return WireMessage(dialect.encode("recent_events", body))


class Pipe(Protocol):
    """A session's way out. What is handed over leaves in order or, when the connection is gone, not at all.

    Writing never blocks and never fails: a pipe whose connection is gone takes everything and sends nothing. The caller
    keeps `pending` bounded.
    """

    @property
    def pending(self) -> int:
        """Bytes that were handed over and have not left this process yet."""

    def write(self, message: WireMessage) -> None: ...

    def write_many(self, messages: Sequence[WireMessage]) -> None:
        """As `write` for each, in as few writes to the socket as the pipe can."""

    def write_binary(self, data: bytes) -> None: ...
