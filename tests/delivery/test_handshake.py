"""What is read of a new connection: a plain request for a WebSocket without what reads HTTP, all else by that."""

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address

from events.http_server import PromptChannel
from events.websocket import WebSocketHouse
from tests.delivery.test_websocket import KEY, LIMITS, Connection
from tests.fanout.support import turns

PLAIN = (
    b"GET /ws/events?a=b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
)


class TwistedConnection(Connection):
    """One that knows its ends."""

    def getPeer(self) -> IPv4Address:  # noqa: N802 - Twisted's names
        return IPv4Address("TCP", "192.0.2.1", 1234)

    def getHost(self) -> IPv4Address:  # noqa: N802
        return IPv4Address("TCP", "192.0.2.2", 8001)

    def unregisterProducer(self) -> None:  # noqa: N802
        """There is none."""


class Channel(PromptChannel):
    """Notes the lines that are read as HTTP. No time is measured."""

    lines: list[bytes]

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - Twisted's names
        self.lines.append(line)

    def setTimeout(self, period: float | None) -> None:  # noqa: N802
        """Never."""


class World:
    """A connection that has just come."""

    def __init__(self, ours: socket.socket) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.house = WebSocketHouse(self._application, LIMITS, lambda _rule: None)
        untyped: Any = Channel
        channel = untyped()
        channel.lines = []
        channel.transport = TwistedConnection(ours)
        channel.factory = SimpleNamespace(server=SimpleNamespace(websockets=self.house), request_s=30.0)
        self.channel = channel

    async def _application(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        self.scopes.append(scope)
        while True:
            await receive()


@pytest.fixture
async def world() -> Any:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        world = World(ours)
        yield world
        world.house.cancel()
        await turns()


async def test_a_plain_request_for_a_websocket_is_not_read_as_http(world: World) -> None:
    world.channel.dataReceived(PLAIN)
    await turns()
    assert [(scope["path"], scope["query_string"], scope["client"]) for scope in world.scopes] == [
        ("/ws/events", b"a=b", ["192.0.2.1", 1234])
    ]
    assert world.channel.lines == []


@pytest.mark.parametrize(
    "parts",
    [
        [PLAIN[:40], PLAIN[40:]],
        [PLAIN.replace(b"websocket", b"h2c")],
        [PLAIN.replace(b"Host:", b"Content-Length: 1\r\nHost:") + b"x"],
        [PLAIN.replace(b"Host:", 2 * (b"X-Much: " + 10_000 * b"x" + b"\r\n") + b"Host:")],
    ],
)
async def test_any_other_is(world: World, parts: list[bytes]) -> None:
    for part in parts:
        world.channel.dataReceived(part)
    await turns()
    assert world.scopes == []
    assert world.channel.lines[0].startswith(b"GET /ws/events?")
