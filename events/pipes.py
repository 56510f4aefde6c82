"""Ways out to a client: a WebSocket straight to its transport, a WebSocket over ASGI `send`, and the outbox of long-polling.

Per delivery, ASGI `send` through daphne costs about 30 us (a frame is built, the write is put off by a turn of the loop and
two epoll calls); handing a frame that was built once for all to the connection's transport costs a tenth. So where the ASGI
server lets us find the transport behind `send`, we write to it; anywhere else, and under TLS, the portable way is taken.
Both ways pass the same tests.
"""

import asyncio
import functools
import socket
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from events.asgi_types import Send
from events.fanout.wire import Bundle, Pipe, Text, WireMessage, joined
from events.protocol.engineio import encode_payload
from events.protocol.frames import binary_frame, payload_size

log = structlog.get_logger("events")


class ClosablePipe(Pipe, Protocol):
    """A pipe that can be shut when its connection is about to be closed."""

    def shut(self) -> None:
        """Take everything and send nothing from now on; what was handed over before still leaves."""


class TwistedTransport(Protocol):
    """What we use of a Twisted TCP connection (`twisted.internet.tcp.Connection`)."""

    connected: int
    disconnecting: int
    dataBuffer: bytes
    offset: int
    _tempDataBuffer: list[bytes]
    _tempDataLen: int
    socket: socket.socket

    def write(self, data: bytes) -> None: ...


def backlog(transport: TwistedTransport) -> int:
    """Bytes that were written and that the system has not taken."""
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


class AsyncioTransport(Protocol):
    """What we use of `asyncio.WriteTransport`. uvloop's transports have it, but do not derive from that class."""

    def write(self, data: bytes) -> None: ...

    def is_closing(self) -> bool: ...

    def get_write_buffer_size(self) -> int: ...


_ASYNCIO_METHODS = ("write", "is_closing", "get_write_buffer_size")
_TWISTED_ATTRIBUTES = tuple(TwistedTransport.__annotations__)


class FramedPipe(ABC):
    """A WebSocket that takes finished frames."""

    __slots__ = ("_held", "_shut", "direct")

    def __init__(self) -> None:
        self._shut = False
        #: What is kept to be written in one piece; None while nothing is kept.
        self._held: list[bytes] | None = None
        self.direct: Callable[[bytes], int] | None = None

    def hold(self) -> None:
        if self._held is None:
            self._held = []
        # Nothing may pass what is held.
        self.direct = None

    def release(self) -> None:
        held, self._held = self._held, None
        if held:
            self._put(b"".join(held))

    def write(self, message: WireMessage) -> None:
        self.put(message.frame)

    def write_binary(self, data: bytes) -> None:
        self.put(binary_frame(data))

    def shut(self) -> None:
        self.release()
        # Nothing may follow a close frame.
        self._shut = True

    def put(self, data: bytes) -> None:
        """Hand over bytes that are framed already."""
        if self._held is None:
            self._put(data)
        else:
            self._held.append(data)

    @abstractmethod
    def offer(self, bundle: Bundle, room: int) -> bool: ...

    @abstractmethod
    def _put(self, data: bytes) -> None:
        """Write behind what was written before."""


class TwistedPipe(FramedPipe):
    """A WebSocket under daphne. Writes to the socket at once while nothing is queued, else behind what is queued.

    Twisted's own `write` puts each write off until the reactor has asked whether the socket is writable, which costs ten
    times as much as the write.
    """

    __slots__ = ("_send", "_transport")

    def __init__(self, transport: TwistedTransport) -> None:
        super().__init__()
        self._transport = transport
        self._send = transport.socket.send

    @property
    def pending(self) -> int:
        return backlog(self._transport)

    def offer(self, bundle: Bundle, room: int) -> bool:
        transport = self._transport
        if (transport.dataBuffer or transport._tempDataBuffer) and self.pending > room:
            return False
        self.put(bundle.frame)
        return True

    def _put(self, data: bytes) -> None:
        transport = self._transport
        if self._shut or transport.disconnecting or not transport.connected:
            return
        if transport.dataBuffer or transport._tempDataBuffer:
            transport.write(data)
            return
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            # The connection is lost. Twisted finds that out by its own write, also while it does not read.
            sent = 0
        if sent < len(data):
            transport.write(data[sent:])


class SolePipe(TwistedPipe):
    """A WebSocket to which nothing is written but through this pipe, so that it knows whether something is queued without
    asking the connection for each delivery.

    Whoever writes to the connection past it, because that is the end, shuts it before.
    """

    __slots__ = ()

    def _put(self, data: bytes) -> None:
        super()._put(data)
        transport = self._transport
        over = self._shut or transport.disconnecting or not transport.connected
        self.direct = None if over or transport.dataBuffer or transport._tempDataBuffer else self._send

    def shut(self) -> None:
        super().shut()
        self.direct = None


class AsyncioPipe(FramedPipe):
    """A WebSocket under uvicorn. asyncio's transport writes at once while nothing is queued, uvloop's by the end of this turn
    of the loop."""

    __slots__ = ("_is_closing", "_transport", "_write")

    def __init__(self, transport: AsyncioTransport) -> None:
        super().__init__()
        self._transport = transport
        # The methods themselves: in the hot path.
        self._write = transport.write
        self._is_closing = transport.is_closing

    @property
    def pending(self) -> int:
        return self._transport.get_write_buffer_size()

    def offer(self, bundle: Bundle, room: int) -> bool:
        if self._transport.get_write_buffer_size() > room:
            return False
        if self._held is not None:
            self._held.append(bundle.frame)
        elif not self._shut and not self._is_closing():
            self._write(bundle.frame)
        return True

    def _put(self, data: bytes) -> None:
        if not self._shut and not self._is_closing():
            self._write(data)


class _Binary(bytes):
    """A binary packet, among texts."""


def _size(packet: Text | _Binary) -> int:
    """Bytes of it."""
    return len(packet) if isinstance(packet, bytes) else sum(map(len, packet))


class QueuedPipe(ABC):
    """A way out on which packets wait their turn in this process. `pending` counts their bytes."""

    direct = None

    def __init__(self) -> None:
        # The texts themselves, which clients that get the same ones share, and nothing besides.
        self._waiting: deque[Text | _Binary] = deque()
        self._shut = False
        self.pending = 0

    def write(self, message: WireMessage) -> None:
        self._put(message.text)

    def offer(self, bundle: Bundle, room: int) -> bool:
        if self.pending > room:
            return False
        for message in bundle.messages:
            self.write(message)
        return True

    def write_binary(self, data: bytes) -> None:
        self._put(_Binary(data))

    def hold(self) -> None:  # noqa: B027 - packets leave one by one, or all that wait at once
        """Nothing is to be joined here."""

    def release(self) -> None:  # noqa: B027
        """There is nothing that was held."""

    def shut(self) -> None:
        self._shut = True

    def _put(self, packet: Text | _Binary) -> None:
        if not self._shut:
            self._waiting.append(packet)
            self.pending += _size(packet)
            self._wake()

    def _next(self) -> str | bytes:
        """The first that waits, which waits no more. It counts as pending until it is said to have left."""
        packet = self._waiting.popleft()
        # autobahn takes no class of bytes but Python's own.
        return bytes(packet) if isinstance(packet, _Binary) else joined(packet).decode()

    @abstractmethod
    def _wake(self) -> None:
        """There is something to send."""


class AsgiPipe(QueuedPipe):
    """A WebSocket under any ASGI server. A task of its own sends, because `send` may wait and a pipe must not. `sid` tells
    whose it is, for the log."""

    def __init__(self, send: Send, sid: Callable[[], str] = str) -> None:
        super().__init__()
        self._send = send
        self._sid = sid
        self._sender: asyncio.Task[None] | None = None

    def keep_sid(self) -> None:
        """Ask no more whose it is: who answers that is about to go, and would stay with this pipe until the garbage collector
        comes."""
        sid = self._sid()
        self._sid = lambda: sid

    async def flush(self) -> None:
        """Wait until all that was handed over has been taken by the server."""
        if self._sender is not None:
            await asyncio.wait([self._sender])

    def _wake(self) -> None:
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._waiting:
                data = self._next()
                await self._send({"type": "websocket.send", "text" if isinstance(data, str) else "bytes": data})
                self.pending -= payload_size(data)
        except Exception as error:
            # The server refuses to send on a connection that is gone; its consumer is told by websocket.disconnect.
            log.debug("send_failed", sid=self._sid(), reason=repr(error))
            self._waiting.clear()
            self.pending = 0
        finally:
            self._sender = None


#: Packets in one answer to a long-polling client. python-engineio's client breaks off when it gets more.
MAX_POLL_PACKETS = 16


class PollingPipe(QueuedPipe):
    """The outbox of a long-polling client: packets wait here for its next request."""

    def __init__(self) -> None:
        super().__init__()
        self._filled = asyncio.Event()

    async def filled(self) -> None:
        """Wait until there is something to take."""
        await self._filled.wait()

    def take(self) -> str:
        """What waits, as one payload of at most `MAX_POLL_PACKETS`; empty when nothing does. The next request gets the rest."""
        # A pipe that is shut has no next request.
        count = len(self._waiting) if self._shut else min(len(self._waiting), MAX_POLL_PACKETS)
        return encode_payload(self._remove(count))

    def drain(self) -> list[str | bytes]:
        """Everything that waits, packet by packet."""
        return self._remove(len(self._waiting))

    def _remove(self, count: int) -> list[str | bytes]:
        taken = [self._next() for _ in range(count)]
        self.pending -= sum(map(payload_size, taken))
        if not self._waiting:
            self._filled.clear()
        return taken

    def _wake(self) -> None:
        self._filled.set()


def websocket_pipe(send: Send, sid: Callable[[], str] = str) -> ClosablePipe:
    """The best way out that the ASGI server behind `send` offers. Call it after the WebSocket was accepted. `sid` tells whose
    it is once that is known; empty until then."""
    own = getattr(getattr(send, "__self__", None), "pipe", None)
    if isinstance(own, SolePipe):
        return own
    transport = _daphne_transport(send)
    if transport is not None:
        return TwistedPipe(transport)
    asyncio_transport = _uvicorn_transport(send)
    if asyncio_transport is not None:
        return AsyncioPipe(asyncio_transport)
    return AsgiPipe(send, sid)


def _daphne_transport(send: Send) -> TwistedTransport | None:
    """daphne passes `send` as `functools.partial(Server.handle_reply, protocol)`."""
    owner = send.args[0] if isinstance(send, functools.partial) and len(send.args) == 1 else None
    transport = getattr(owner, "transport", None)
    # TLS wraps the connection in an object without these: what we wrote to the socket below would not be encrypted.
    # A Twisted that has other names for them gets the portable way as well.
    plain = all(hasattr(transport, name) for name in _TWISTED_ATTRIBUTES)
    return transport if plain and not getattr(transport, "TLS", False) else None


def _uvicorn_transport(send: Send) -> AsyncioTransport | None:
    """uvicorn passes `send` as a bound method of the object that owns `transport`."""
    owner = getattr(send, "__self__", None)
    transport: AsyncioTransport | None = getattr(owner, "transport", None)
    fitting = all(hasattr(transport, name) for name in _ASYNCIO_METHODS)
    # TLS is fine here: an asyncio SSL transport encrypts what it is given.
    return transport if fitting and type(owner).__module__.startswith("uvicorn.") else None
