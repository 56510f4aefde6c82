"""Engine.IO 4 over WebSocket and over long-polling, as a client: packets in, packets out, one connection each.

Written on protocols instead of streams: hundreds of clients share one event loop with the publisher.
"""

import asyncio
import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Final, Protocol, cast

import orjson

from events.protocol.engineio import PacketType
from events.protocol.errors import ProtocolError
from events.soak import wire

#: How long connecting and the handshake may take.
CONNECT_TIMEOUT_S: Final = 10.0

#: Added to the heartbeat that the server announces before it is given up for dead.
GRACE_S: Final = 5.0

#: Small enough that a client that does not read is felt by its server, large enough for one segment of the loopback.
RECEIVE_BUFFER: Final = 131_072

PATH: Final = "/socket.io/?EIO=4&transport="

_SEPARATOR: Final = b"\x1e"
_OPEN: Final = f"{int(PacketType.OPEN)}".encode()
_CLOSE: Final = f"{int(PacketType.CLOSE)}".encode()
_PING: Final = f"{int(PacketType.PING)}".encode()
_PONG: Final = f"{int(PacketType.PONG)}".encode()
_MESSAGE: Final = f"{int(PacketType.MESSAGE)}".encode()

OnMessage = Callable[[bytes], None]


class Transport(Protocol):
    """One connection. Every message that comes goes to the `OnMessage` it was made with, without its packet type."""

    async def run(self) -> None:
        """Connects, and returns or raises OSError, TimeoutError or ProtocolError when the connection is over."""

    def send(self, message: bytes) -> None:
        """Send a message when that is possible; nothing happens once the connection is over."""

    def stall(self, seconds: float) -> None:
        """Read nothing for so long."""

    def drop(self) -> None:
        """Cut the connection without a word."""


async def connect(protocol: asyncio.Protocol, port: int) -> None:
    """Connect a protocol to a server on this machine."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.sock_connect(connection, ("127.0.0.1", port))
            await loop.create_connection(lambda: protocol, sock=connection)
    except BaseException:
        connection.close()
        raise


class _Connection(asyncio.Protocol):
    """What both kinds of connection share: being cut, and not reading."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def stall(self, seconds: float) -> None:
        transport = self.transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, _resume, transport)

    def drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _resume(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


def _patience_s(handshake: bytes) -> float:
    """How long a server may be silent, from its Engine.IO handshake."""
    fields = orjson.loads(handshake)
    return float((fields["pingInterval"] + fields["pingTimeout"]) / 1_000) + GRACE_S


# -- WebSocket ---------------------------------------------------------------------------------------------------------


class WebSocketTransport(_Connection):
    """Engine.IO over one WebSocket from the start."""

    def __init__(self, port: int, on_message: OnMessage) -> None:
        super().__init__()
        self._port = port
        self._on_message = on_message
        self._response = wire.ResponseReader()
        self._frames = wire.FrameReader()
        self._upgraded = False
        self._patience_s = CONNECT_TIMEOUT_S
        self._heard = time.monotonic()
        self._failure: Exception | None = None

    async def run(self) -> None:
        await connect(self, self._port)
        key = b64encode(secrets.token_bytes(16)).decode()
        self.write(
            f"GET {PATH}websocket HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        try:
            while not self.over.done():
                await asyncio.wait((self.over,), timeout=GRACE_S)
                if time.monotonic() - self._heard > self._patience_s:
                    raise TimeoutError("the server fell silent")
        finally:
            self.drop()
        if self._failure is not None:
            raise self._failure

    def send(self, message: bytes) -> None:
        self.write(wire.masked_frame(wire.TEXT, _MESSAGE + message))

    def data_received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        try:
            if not self._upgraded:
                data = self._upgrade(data)
            for opcode, payload in self._frames.feed(data):
                self._take(opcode, payload)
        except (ProtocolError, ConnectionError) as error:
            self._failure = error
            self.drop()

    def _upgrade(self, data: bytes) -> bytes:
        response = self._response.feed(data)
        if response is None:
            return b""
        if response.status != 101:
            raise ConnectionRefusedError(f"the WebSocket was refused with {response.status}")
        self._upgraded = True
        return response.rest

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == wire.TEXT:
            kind = payload[:1]
            if kind == _MESSAGE:
                self._on_message(payload[1:])
            elif kind == _PING:
                self.write(wire.masked_frame(wire.TEXT, _PONG))
            elif kind == _OPEN:
                self._patience_s = _patience_s(payload[1:])
                self.send(b"0")
            elif kind == _CLOSE:
                self.drop()
        elif opcode == wire.PING:
            self.write(wire.masked_frame(wire.PONG, payload))
        elif opcode == wire.CLOSE:
            self.drop()


# -- long-polling ------------------------------------------------------------------------------------------------------


class _HttpConnection(_Connection):
    """Requests over one kept-alive connection, one after the other."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._reader = wire.ResponseReader()
        self._answer: asyncio.Future[wire.Response] | None = None

    async def request(self, method: str, target: str, body: bytes = b"") -> bytes:
        """The body of the answer. Raises ConnectionError when there is none, ProtocolError unless its status is 200."""
        if self.transport is None:
            await connect(self, self._port)
        if self.over.done():
            raise ConnectionResetError("the connection is over")
        self._answer = asyncio.get_running_loop().create_future()
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.write(head.encode() + body)
        response = await self._answer
        if response.status != 200:
            raise ConnectionRefusedError(f"{method} was answered with {response.status}")
        return response.body

    def data_received(self, data: bytes) -> None:
        try:
            response = self._reader.feed(data)
        except ProtocolError as error:
            self._end(error)
            self.drop()
            return
        if response is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end(ConnectionResetError("the connection was cut"))

    def _end(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class PollingTransport:
    """Engine.IO over long-polling only: one connection that waits for packets, one that brings them."""

    def __init__(self, port: int, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._reading = _HttpConnection(port)
        self._writing = _HttpConnection(port)
        self._target = f"{PATH}polling"
        self._patience_s = CONNECT_TIMEOUT_S
        self._outgoing: list[bytes] = []
        self._waiting = asyncio.Event()

    async def run(self) -> None:
        failures: list[Exception] = []
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                opened = await self._reading.request("GET", self._target)
            self._open(opened)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                tasks.create_task(self._read())
        except* (OSError, TimeoutError, ProtocolError) as group:
            failures += group.exceptions
        finally:
            self.drop()
        # The session ends by one failure; where there are two, the protocol error says more than the cut that follows it.
        raise next((failure for failure in failures if isinstance(failure, ProtocolError)), failures[0])

    def send(self, message: bytes) -> None:
        self._queue(_MESSAGE + message)

    def stall(self, seconds: float) -> None:
        self._reading.stall(seconds)

    def drop(self) -> None:
        self._reading.drop()
        self._writing.drop()

    def _open(self, packet: bytes) -> None:
        if packet[:1] != _OPEN:
            raise ProtocolError("no Engine.IO handshake")
        self._patience_s = _patience_s(packet[1:])
        self._target += f"&sid={orjson.loads(packet[1:])['sid']}"
        self.send(b"0")

    async def _read(self) -> None:
        while True:
            async with asyncio.timeout(self._patience_s):
                body = await self._reading.request("GET", self._target)
            for packet in body.split(_SEPARATOR):
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        kind = packet[:1]
        if kind == _MESSAGE:
            self._on_message(packet[1:])
        elif kind == _PING:
            self._queue(_PONG)
        elif kind == _CLOSE:
            raise ConnectionResetError("the server closed the session")

    async def _write(self) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            packets, self._outgoing = self._outgoing, []
            # The answer may take as long as the replay of a subscription takes to be read.
            async with asyncio.timeout(self._patience_s):
                await self._writing.request("POST", self._target, _SEPARATOR.join(packets))

    def _queue(self, packet: bytes) -> None:
        self._outgoing.append(packet)
        self._waiting.set()
