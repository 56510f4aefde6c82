"""What a WebSocket that sends what cannot be read costs its address: one offence, and none where its client only goes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from events.connection import EngineEndpoint
from events.consumers import EngineWebSocketConsumer
from events.gate import Gate
from events.limits.rate import Rate
from events.protocol.engineio import EngineConfig
from events.protocol.errors import ProtocolError
from events.websocket import WebSocket, WebSocketHouse
from tests.delivery.test_consumers import SCOPE, Known
from tests.delivery.test_websocket import KEY, LIMITS, Connection, tcp_pair
from tests.fanout.support import turns, until

ADDRESS = SCOPE["client"][0]


class NotingGate(Gate):
    """Notes who offended, and by which rule."""

    def __init__(self) -> None:
        self.rules: list[str] = []
        super().__init__(count=self.rules.append)
        self.offenders: list[str] = []

    def offended(self, address: str) -> None:
        self.offenders.append(address)


class Busy(Known):
    """An application that is not done with greeting, however long that takes."""

    async def opened(self) -> None:
        await asyncio.Event().wait()


class Client:
    """An Engine.IO client; its messages may have 100 bytes."""

    def __init__(self, ours: socket.socket, app: type[Known]) -> None:
        self.gate = NotingGate()
        self.endpoint = EngineEndpoint(app, EngineConfig(max_payload_bytes=100), self.gate)
        self.connection = Connection(ours)
        self.house = WebSocketHouse(self._serve, LIMITS, lambda _rule: None)
        self.house.open(self.connection, SCOPE, KEY)

    async def _serve(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        await EngineWebSocketConsumer(self.endpoint)(scope, receive, send)

    @property
    def socket(self) -> WebSocket:
        socket: WebSocket = self.connection.protocol
        return socket

    def say(self, opcode: Opcode, payload: bytes) -> None:
        self.socket.dataReceived(Frame(opcode, payload).serialize(mask=True))

    async def go(self) -> None:
        """Go, and wait until nobody is served any more."""
        self.socket.connectionLost()
        await until(lambda: self.socket._task is None)
        assert not self.endpoint.connections


@asynccontextmanager
async def connected(app: type[Known] = Known) -> AsyncIterator[Client]:
    ours, theirs = tcp_pair()
    with ours, theirs:
        client = Client(ours, app)
        await until(lambda: bool(client.endpoint.connections))
        await turns()
        yield client
        client.house.cancel()
        await turns()


@pytest.mark.parametrize(("payload", "rules"), [(b"9", []), (b"4" + b"x" * 100, ["body"])])
async def test_a_connection_offends_once_however_much_of_it_cannot_be_read(payload: bytes, rules: list[str]) -> None:
    async with connected() as client:
        for _ in range(100):
            client.say(Opcode.TEXT, payload)
        await until(lambda: not len(client.socket.inflow))
        await client.go()
        assert (client.gate.offenders, client.gate.rules) == ([ADDRESS], rules)


async def test_what_an_application_finds_after_the_end_offends_nobody() -> None:
    async with connected() as client:
        (connection,) = client.endpoint.connections.values()
        connection.close("transport close")
        connection.fail(ProtocolError("the last message"))
        assert client.gate.offenders == []
        await client.go()


@pytest.mark.parametrize("code", [1_002, 1_007, 1_009])
async def test_a_client_may_go_with_any_code(code: int) -> None:
    async with connected() as client:
        client.say(Opcode.CLOSE, code.to_bytes(2, "big"))
        await client.go()
        assert client.gate.offenders == []


@pytest.mark.parametrize(("code", "rules"), [(1_002, ["framing"]), (1_007, ["utf8"]), (1_000, []), (1_006, []), (1_009, [])])
async def test_where_only_the_code_of_the_end_is_known_two_of_them_offend(code: int, rules: list[str]) -> None:
    gate = NotingGate()
    endpoint = EngineEndpoint(Known, EngineConfig(), gate)
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(message: dict[str, Any]) -> None:
        """Takes everything."""

    serving = asyncio.create_task(EngineWebSocketConsumer(endpoint)(dict(SCOPE), incoming.get, send))
    incoming.put_nowait({"type": "websocket.connect"})
    await until(lambda: bool(endpoint.connections))
    incoming.put_nowait({"type": "websocket.disconnect", "code": code})
    await serving
    assert (gate.rules, gate.offenders) == (rules, [ADDRESS] * len(rules))


async def test_a_flood_of_frames_is_one_offence() -> None:
    async with connected() as client:
        client.house.limits = replace(LIMITS, flood=Rate(1e-6, 3))
        for _ in range(10):
            client.say(Opcode.PING, b"")
        await client.go()
        assert client.gate.offenders == [ADDRESS]


@pytest.mark.parametrize("app", [Known, Busy])
async def test_who_breaks_the_protocol_offends_also_where_its_application_is_busy(app: type[Known]) -> None:
    async with connected(app) as client:
        client.say(Opcode.TEXT, b"\xff")
        await client.go()
        assert client.gate.offenders == [ADDRESS]
