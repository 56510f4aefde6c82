"""What is fuzzed with a connection around it: the bytes of a TCP connection, as the server's own protocols get them."""

import asyncio
from typing import Any, Final

from daphne.http_protocol import HTTPFactory
from daphne.server import twisted_loop
from django.conf import settings
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import StringTransport

from events.asgi import ServerApplication
from events.limits.rate import Rate
from events.protocol.websocket import FrameReader, Ping
from events.server import EventServer
from events.websocket import SocketLimits, WebSocketHouse

#: Of this machine, which no limit of an address concerns: whether a connection is let in does not depend on the ones before.
ADDRESS: Final[Any] = IPv4Address("TCP", "127.0.0.1", 4_000)

#: First bytes of what a server may write by itself.
CLOSE: Final = 0x88
PONG: Final = 0x8A

LIMITS: Final = SocketLimits(
    message_bytes=2_000, frame_bytes=1_000, connect_s=20, ping_interval_s=20, ping_timeout_s=20, flood=Rate(1, 20)
)


class Connection(StringTransport):
    """A connection whose other end takes everything, with what the server's protocols use of a TCP connection."""

    protocol: Any

    def __init__(self) -> None:
        super().__init__(ADDRESS, ADDRESS, lenient=True)  # type: ignore[no-untyped-call]
        self.connected = True
        self.dataBuffer = b""
        self.offset = self.unsent = 0
        self._tempDataBuffer: list[bytes] = []
        self._tempDataLen = 0
        self.socket: Any = self
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def send(self, data: bytes) -> int:
        self.write(data)
        return len(data)

    def unregisterProducer(self) -> None:  # noqa: N802 - Twisted's name
        """Also one that is none any more, as with a TCP connection."""
        self.producer = None

    def goes_first(self) -> bool:
        return False


class Application(ServerApplication):
    """In the place of the project's: keeps what it is asked, and says yes."""

    def __init__(self) -> None:
        super().__init__(self, settings.EVENTS)
        self.requests: list[list[Any]] = []
        self.messages: list[str | bytes] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request = [scope.get(name) for name in ("type", "method", "path", "raw_path", "query_string")]
        self.requests.append([*request, sorted(scope["headers"])])
        if scope["type"] == "websocket":
            await self._listen(receive, send)
            return
        message = await receive()
        if message["type"] == "http.request":
            self.requests[-1].append(message["body"])
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async def _listen(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            self.messages.append(message["bytes"] if text is None else text)


def pieces(data: bytes) -> list[bytes]:
    """The first byte says how long each is."""
    size = data[0] + 1 if data else 1
    return [data[place : place + size] for place in range(1, len(data), size)]


_application: Final = Application()
_server: Final = EventServer(application=_application, endpoints=["tcp:0"])
# What daphne does when it runs: it puts the project's factory in the place of its own.
_server.http_factory = HTTPFactory(_server)
_server.connections = {}


def http(data: bytes) -> None:
    """Connections on which HTTP is spoken: the same requests come of them in one piece as in many. A plain request for a
    WebSocket is read in another way when it comes in one."""
    whole = twisted_loop.run_until_complete(_requests([data[1:]]))
    parts = twisted_loop.run_until_complete(_requests(pieces(data)))
    assert whole == parts, (whole, parts)


async def _requests(parts: list[bytes]) -> list[list[Any]]:
    """What the application gets to see."""
    _application.requests = []
    connection = Connection()
    connection.protocol = channel = _server.http_factory.buildProtocol(ADDRESS)
    channel.makeConnection(connection)
    for part in parts:
        if connection.protocol is channel and not connection.disconnecting:
            channel.dataReceived(part)
            # A WebSocket stays.
            await (_all_done() if connection.protocol is channel else asyncio.sleep(0))
    connection.protocol.connectionLost(connectionDone)
    await _all_done()
    _server.http_factory.door.leave(ADDRESS.host)
    assert all("disconnected" in details for details in _server.connections.values())
    _server.connections.clear()
    assert not len(_server.websockets)
    assert not _server.http_factory.bodies.total
    # daphne catches what is raised while it reads a request.
    assert b"HTTP/1.1 500" not in connection.written
    return _application.requests


async def _all_done() -> None:
    """Wait until nothing else is done. Raises what was raised there."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for result in await asyncio.gather(*others, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


def sockets(data: bytes) -> None:
    """Connections of WebSockets, in pieces: what is made of the frames, whatever of them is too much."""
    twisted_loop.run_until_complete(_speak(pieces(data)))


async def _speak(parts: list[bytes]) -> None:
    application = Application()
    connection: Any = Connection()
    house = WebSocketHouse(application, LIMITS, lambda rule: None)
    house.open(connection, {"type": "websocket", "headers": []}, b"")
    await asyncio.sleep(0)
    connection.written = b""
    for part in parts:
        if not connection.disconnecting:
            connection.protocol.dataReceived(part)
            await asyncio.sleep(0)
    connection.protocol.connectionLost()
    await _all_done()
    said = FrameReader(LIMITS.frame_bytes, LIMITS.message_bytes).feed(b"".join(parts))
    texts = [each for each in said if isinstance(each, str | bytes)]
    assert application.messages == texts[: len(application.messages)]
    _check_written(connection.written, {each.payload for each in said if isinstance(each, Ping)})


def _check_written(written: bytes, pings: set[bytes]) -> None:
    """Pongs for pings that came, and at last the end."""
    while written:
        opcode, length = written[0], written[1]
        payload, written = written[2 : 2 + length], written[2 + length :]
        if opcode == CLOSE:
            assert not written
        else:
            assert opcode == PONG
            assert payload in pings


HANDSHAKE: Final = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
