"""WebSockets under daphne.

daphne has autobahn speak WebSocket, which took half of the time of a connection's beginning and half of the memory of an idle
one. So here is a protocol of our own below the same ASGI messages: `events.protocol.websocket` reads, and what is written goes
to the connection's transport.
"""

import asyncio
import math
import socket as tcp
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

import structlog

from events.alarms import Alarms
from events.asgi_types import Application, Scope
from events.inflow import Inflow
from events.limits.rate import UNLIMITED, Rate, TokenBucket
from events.pipes import SolePipe, TwistedTransport
from events.protocol.frames import binary_frame, close_frame, ping_frame, pong_frame, text_frame
from events.protocol.websocket import (
    ABNORMAL,
    INTERNAL_ERROR,
    INVALID_DATA,
    NO_CODE,
    NORMAL,
    POLICY_VIOLATION,
    PROTOCOL_ERROR,
    TOO_BIG,
    Closing,
    FrameReader,
    Ping,
    Pong,
    Violation,
    handshake_answer,
)

log = structlog.get_logger("events")

#: A client that was told of the end has so long to agree, and to take what was sent before.
CLOSE_TIMEOUT_S: Final = 1.0

#: A consumer has so long to end after its connection did.
APPLICATION_TIMEOUT_S: Final = 10.0

#: Pings of a client that does not read are not answered while so many bytes wait for it.
PONG_BACKLOG: Final = 65_536

#: Under which rule a violation is counted, by the code that tells the client of it.
RULES: Final = {TOO_BIG: "body", INVALID_DATA: "utf8", PROTOCOL_ERROR: "framing", POLICY_VIOLATION: "flood"}

FLOODED: Final = "Too many control frames, or too many small fragments of messages (WS_CLIENT_MESSAGES_PER_S)."

REFUSED: Final = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FAILED: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Message = dict[str, Any]


class Transport(TwistedTransport, Protocol):
    """What a socket uses of its connection besides writing."""

    protocol: Any

    def loseConnection(self) -> None: ...  # noqa: N802 - Twisted's names

    def abortConnection(self) -> None: ...  # noqa: N802

    def pauseProducing(self) -> None: ...  # noqa: N802

    def resumeProducing(self) -> None: ...  # noqa: N802


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """message_bytes, frame_bytes: the largest message and the largest frame of a client
    connect_s:       the application has so long to accept or refuse
    ping_interval_s: a client that was silent for so long is pinged, and has `ping_timeout_s` to say anything
    flood:           control frames and small fragments of a client above which it is cut"""

    message_bytes: int
    frame_bytes: int
    connect_s: float
    ping_interval_s: float
    ping_timeout_s: float
    flood: Rate = UNLIMITED


#: `tcpi_state` of a connection that neither side has ended.
_ESTABLISHED: Final = 1


def has_ended(connection: tcp.socket) -> bool:
    """Whether the other side has ended a TCP connection, known without reading from it. False where the system does not say."""
    if not hasattr(tcp, "TCP_INFO"):
        return False
    return bool(connection.getsockopt(tcp.IPPROTO_TCP, tcp.TCP_INFO, 1)[0] != _ESTABLISHED)


class State(Enum):
    CONNECTING = 1
    OPEN = 2
    CLOSING = 3
    CLOSED = 4


class WebSocket:
    """One client's socket: Twisted gives it the bytes, and its `send` is that of the ASGI application."""

    __slots__ = (
        "_about",
        "_code",
        "_flood",
        "_heard_at",
        "_house",
        "_key",
        "_pinged_at",
        "_reader",
        "_state",
        "_task",
        "alarm",
        "inflow",
        "pipe",
        "transport",
    )

    def __init__(self, house: "WebSocketHouse", transport: Transport, key: bytes) -> None:
        limits = house.limits
        self._house = house
        self._key = key
        self._state = State.CONNECTING
        self._code = ABNORMAL
        self._heard_at = time.monotonic()
        #: When a ping was sent that nothing has come after; 0 for none.
        self._pinged_at = 0.0
        #: The application says in it how to learn whose socket this is, for the log: `sid`; and who is asked about a message
        #: before it waits for the application, and may take it: `hear`. It learns from it whether the client broke the
        #: protocol: `violated`.
        self._about: dict[str, Any] = {}
        #: Once there is something to count, which most clients never send.
        self._flood: TokenBucket | None = None
        self._reader = FrameReader(limits.frame_bytes, limits.message_bytes)
        self._task: asyncio.Task[None] | None = None
        self.alarm = 0
        self.transport = transport
        #: Everything goes out through it until one of the two says that this is the end.
        self.pipe = SolePipe(transport)
        self.inflow = Inflow(self, limits.message_bytes)

    # -- the application ------------------------------------------------------------------------------------------------

    def start(self, application: Application, scope: Scope) -> None:
        """Run the application on this socket."""
        self.inflow.put({"type": "websocket.connect"})
        self._task = asyncio.ensure_future(application({**scope, "about": self._about}, self.receive, self.send))
        self._task.add_done_callback(self._ended)

    async def receive(self) -> Message:
        """ASGI's `receive`."""
        self.pipe.release()
        return await self.inflow.get()

    async def send(self, message: Message) -> None:
        """ASGI's `send`. Does nothing on a connection that is gone."""
        match message["type"]:
            case "websocket.accept":
                self._accept()
            case "websocket.send":
                self._send(message)
            case "websocket.close" if self._state is State.CONNECTING:
                self._refuse(REFUSED)
            case "websocket.close":
                self._close(message.get("code") or NORMAL, message.get("reason") or "")

    def _accept(self) -> None:
        if self._state is State.CONNECTING:
            self._state = State.OPEN
            if not self.inflow.awaited:
                # What the application says to begin with leaves with the answer.
                self.pipe.hold()
            self._write(handshake_answer(self._key))
            self._key = b""

    def _send(self, message: Message) -> None:
        if self._state is State.OPEN:
            text: str | None = message.get("text")
            self._write(text_frame(text.encode()) if text is not None else binary_frame(message["bytes"]))

    def _write(self, data: bytes) -> None:
        self.pipe.put(data)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """The application ended, and the connection does with it."""
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("websocket_failed", sid=self.sid, exc_info=error)
        if self._state is State.CONNECTING:
            self._refuse(REFUSED if error is None else FAILED)
        else:
            self._close(NORMAL if error is None else INTERNAL_ERROR)
        # It may know this socket, and would stay with it until the garbage collector comes.
        self._about.clear()

    def cancel(self) -> None:
        """End the application, if it still runs."""
        if self._task is not None:
            self._task.cancel()

    @property
    def sid(self) -> str:
        """Of the client; empty while it has none."""
        ask: Callable[[], str] | None = self._about.get("sid")
        return ask() if ask is not None else ""

    # -- the client -----------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self._heard_at = time.monotonic()
        if self._state is State.CONNECTING:
            # Nothing may come before the handshake is answered.
            self.transport.abortConnection()
            return
        self._read(data)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Enough waits for the application."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The application has room: first for what came with what it has taken."""
        self._read(b"")
        if not self.inflow.paused:
            self.transport.resumeProducing()

    def _read(self, data: bytes) -> None:
        """Take no more of it than there is room for: a message for itself takes several times the memory of its bytes, and one
        read may bring hundreds."""
        received, asides = self._reader.feed(data, self.inflow.room), self._reader.asides
        if asides:
            self._reader.asides = 0
            if self._floods(asides):
                self._control(self._reader.break_off(POLICY_VIOLATION, FLOODED))
                return
        ping: Ping | None = None
        hear: Callable[[str | bytes], bool] | None = self._about.get("hear")
        for each in received:
            if isinstance(each, str | bytes):
                if hear is None or not hear(each):
                    self.inflow.put(each)
            elif isinstance(each, Ping):
                ping = each
            else:
                self._control(each)
        if self.inflow.paused:
            self._house.unread.add(self)
        # Of several that came at once the last one is answered, which answers all (section 5.5.3 of the protocol).
        if ping is not None and self._state is State.OPEN and self.pipe.pending <= PONG_BACKLOG:
            self._write(pong_frame(ping.payload))

    def _floods(self, asides: int) -> bool:
        """Whether these are more control frames and small fragments than a client may send."""
        if self._flood is None:
            self._flood = TokenBucket(self._house.limits.flood)
        return self._flood.take(self._heard_at, asides) > 0

    def _control(self, received: Pong | Closing | Violation) -> None:
        match received:
            case Closing(code):
                self._code = code
                self._say_goodbye(None if code == NO_CODE else code)
                self._lose()
            case Violation(code, message):
                self._house.refused(RULES[code])
                self._about["violated"] = True
                log.info("websocket_violation", sid=self.sid, reason=message, code=code)
                self._code = code
                self._say_goodbye(code, message)
                self._lose()

    def connectionLost(self, reason: object = None) -> None:  # noqa: N802 - Twisted's name
        self._state = State.CLOSED
        self.pipe.shut()
        self._house.forget(self)
        busy = not self.inflow.awaited
        self.inflow.end({"type": "websocket.disconnect", "code": self._code})
        if self._task is not None:
            if busy:
                # It carries out commands of a client that is gone: hundreds may still wait.
                self._task.cancel()
            late = asyncio.get_running_loop().call_later(APPLICATION_TIMEOUT_S, self.cancel)
            self._task.add_done_callback(lambda _: late.cancel())

    def ring(self) -> None:
        self.check(time.monotonic())

    def check(self, now: float) -> None:
        """Do what is due at this monotonic time, and be asked again when more will be."""
        limits, silent_s = self._house.limits, now - self._heard_at
        if self._state is State.CONNECTING and silent_s > limits.connect_s:
            self._refuse(FAILED)
        elif self._state is State.OPEN and not self.inflow.paused:
            if self._pinged_at > self._heard_at:
                if now - self._pinged_at > limits.ping_timeout_s:
                    self.transport.abortConnection()
            elif silent_s > limits.ping_interval_s:
                self._pinged_at = now
                self._write(ping_frame())
        self._house.alarms.put(self, self._next_check(now))

    def _next_check(self, now: float) -> float:
        limits = self._house.limits
        if self._state is State.CONNECTING:
            return self._heard_at + limits.connect_s
        if self._state is not State.OPEN:
            return math.inf
        if self.inflow.paused:
            # Its pongs are not read: it cannot have been silent before it is read again.
            return now + limits.ping_timeout_s
        if self._pinged_at > self._heard_at:
            return self._pinged_at + limits.ping_timeout_s
        return self._heard_at + limits.ping_interval_s

    def check_unread(self) -> bool:
        """Whether its socket is still not read, so that its end is not either: that is looked for here."""
        if self.inflow.paused and has_ended(self.transport.socket):
            self.transport.abortConnection()
        return self.inflow.paused

    # -- the end --------------------------------------------------------------------------------------------------------

    def _refuse(self, answer: bytes) -> None:
        self._state = State.CLOSING
        self.pipe.shut()
        self.transport.write(answer)
        self._lose()

    def _close(self, code: int, reason: str = "") -> None:
        """Say that this is the end, and wait for the client to agree."""
        if self._state is State.OPEN:
            self._code = code
            self._say_goodbye(code, reason)
            self._abort_later()

    def _say_goodbye(self, code: int | None, reason: str = "") -> None:
        if self._state is State.OPEN:
            self._state = State.CLOSING
            self.pipe.shut()
            self.transport.write(close_frame(code, reason))

    def _lose(self) -> None:
        """End the connection once what was written has left, or after a while."""
        self.transport.loseConnection()
        self._abort_later()

    def _abort_later(self) -> None:
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._abort)

    def _abort(self) -> None:
        if self._state is not State.CLOSED:
            self.transport.abortConnection()


class WebSocketHouse:
    """The WebSockets of one server process, and what runs on each.

    refused: is told the rule (of `RULES`) that a client broke
    """

    def __init__(self, application: Application, limits: SocketLimits, refused: Callable[[str], None]) -> None:
        self._application = application
        self._sockets: set[WebSocket] = set()
        #: Those that are not read for now, and some that were not lately.
        self.unread: set[WebSocket] = set()
        self.alarms = Alarms(time.monotonic)
        self.limits = limits
        self.refused = refused

    def __len__(self) -> int:
        return len(self._sockets)

    def open(self, transport: Transport, scope: Scope, key: bytes) -> None:
        """Take a connection over whose client asked for a WebSocket with this `Sec-WebSocket-Key`."""
        socket = WebSocket(self, transport, key)
        transport.protocol = socket
        # HTTP may have paused it.
        transport.resumeProducing()
        self._sockets.add(socket)
        self.alarms.put(socket, time.monotonic() + self.limits.connect_s)
        socket.start(self._application, scope)

    def forget(self, socket: WebSocket) -> None:
        """A connection is gone."""
        self._sockets.discard(socket)
        self.unread.discard(socket)
        self.alarms.clear(socket)

    def check(self) -> None:
        """To be called every few seconds: look for the end of those that are not read for now."""
        self.unread = {socket for socket in list(self.unread) if socket.check_unread()}

    def cancel(self) -> None:
        """End every application that still runs."""
        for socket in list(self._sockets):
            socket.cancel()
