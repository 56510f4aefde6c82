"""Consumers of WebSockets under an ASGI server of whose connections nothing is known."""

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from websockets.frames import Frame, Opcode

from events.commands import CommandHandler
from events.connection import EngineConnection, EngineEndpoint
from events.consumers import EngineWebSocketConsumer, PlainWebSocketConsumer
from events.fanout.session import ClientInfo
from events.gate import Gate
from events.limits.rate import Rate
from events.pipes import AsgiPipe, PollingPipe
from events.plain_app import PlainEndpoint
from events.protocol.engineio import EngineConfig
from events.websocket import WebSocketHouse
from tests.delivery.test_websocket import KEY, LIMITS, Connection, tcp_pair
from tests.fanout.support import stage, until

SCOPE: dict[str, Any] = {
    "type": "websocket",
    "headers": [],
    "client": ["192.0.2.1", 1234],
    "query_string": b"EIO=4&transport=websocket",
}

Consumer = EngineWebSocketConsumer | PlainWebSocketConsumer


PONG = Frame(Opcode.TEXT, b"3").serialize(mask=True)


class Known:
    """An application whose client is known at once."""

    def __init__(self, connection: EngineConnection) -> None:
        connection.client_sid = "known"

    async def opened(self) -> None:
        """Nothing to greet with."""

    async def message(self, data: str | bytes) -> None:
        """Nothing to answer."""

    def upgraded(self) -> None:
        """Nothing to change."""

    async def closed(self, reason: str) -> None:
        """Nothing to clean up."""


@pytest_asyncio.fixture(params=["engine", "plain"])
async def build(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Consumer]]:
    """Makes a consumer."""
    async with stage() as world:

        async def commands() -> CommandHandler:
            return world.commands

        engine, plain = EngineEndpoint(Known, EngineConfig()), PlainEndpoint(commands, world.config, Gate())
        yield lambda: EngineWebSocketConsumer(engine) if request.param == "engine" else PlainWebSocketConsumer(plain)


async def ended_consumer(build: Callable[[], Consumer]) -> tuple[weakref.ref[Consumer], AsgiPipe, str]:
    """The consumer of a connection that came and went, its pipe, and the client's id."""
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(message: dict[str, Any]) -> None:
        """Takes everything."""

    consumer = build()
    serving = asyncio.create_task(consumer(dict(SCOPE), incoming.get, send))
    incoming.put_nowait({"type": "websocket.connect"})
    await until(lambda: consumer.sid)
    pipe, sid = consumer.pipe, consumer.sid
    assert isinstance(pipe, AsgiPipe)
    incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await serving
    return weakref.ref(consumer), pipe, sid


async def test_a_consumer_that_ended_leaves_nothing_to_the_garbage_collector(build: Callable[[], Consumer]) -> None:
    gc.collect()
    gc.disable()
    try:
        left, pipe, sid = await ended_consumer(build)
        await until(lambda: left() is None)
    finally:
        gc.enable()
    assert pipe._sid() == sid, "the log still says whose it was"


async def test_what_nobody_asks_for_any_more_of_a_request_is_let_go_of(build: Callable[[], Consumer]) -> None:
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(message: dict[str, Any]) -> None:
        """Takes everything."""

    consumer, scope = build(), {**SCOPE, "raw_path": b"/", "server": ["192.0.2.9", 80], "about": {}}
    serving = asyncio.create_task(consumer(scope, incoming.get, send))
    incoming.put_nowait({"type": "websocket.connect"})
    await until(lambda: consumer.sid)
    assert (set(scope), scope["headers"]) == ({"type", "client", "headers", "about"}, [])
    assert (consumer.client.address, scope["about"]["sid"]()) == ("192.0.2.1", consumer.sid)
    incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await serving


class Heartbeat:
    """One client of `serve` over a pair of TCP sockets, and the clock of its heartbeat."""

    def __init__(self, ours: socket.socket) -> None:
        self.time = 0.0
        self.endpoint = EngineEndpoint(Known, EngineConfig(), flood=Rate(1.0, 3.0))
        self.endpoint.spread = 0.0
        self.endpoint.now = lambda: self.time  # type: ignore[method-assign]
        self.house = WebSocketHouse(EngineWebSocketConsumer.as_asgi(endpoint=self.endpoint), LIMITS, lambda rule: None)
        self.connection = Connection(ours)

    async def connect(self, sid: str = "") -> EngineConnection:
        query = SCOPE["query_string"] + b"&sid=" + sid.encode()
        self.house.open(self.connection, {**SCOPE, "query_string": query}, KEY)
        await until(lambda: self.endpoint.connections)
        (connection,) = self.endpoint.connections.values()
        return connection

    def hear(self, data: bytes) -> None:
        self.connection.protocol.dataReceived(data)


@pytest_asyncio.fixture
async def heartbeat() -> AsyncIterator[Heartbeat]:
    ours, theirs = tcp_pair()
    with ours, theirs:
        beat = Heartbeat(ours)
        yield beat
        beat.house.cancel()
        await until(lambda: not beat.endpoint.connections)


async def test_a_pong_puts_the_next_ping_off_before_anything_else_runs(heartbeat: Heartbeat) -> None:
    connection = await heartbeat.connect()
    heartbeat.time = 26.0
    connection.check_time()
    assert connection.session.deadline == 45.0
    heartbeat.hear(PONG)
    assert connection.session.deadline == 51.0


async def test_so_does_one_of_a_client_that_began_with_long_polling(heartbeat: Heartbeat) -> None:
    polling = heartbeat.endpoint.create("polling", PollingPipe(), ClientInfo())
    connection = await heartbeat.connect(polling.sid)
    assert connection is polling
    for frame in (b"2probe", b"5"):
        await until(lambda: heartbeat.connection.protocol.inflow.awaited)
        heartbeat.hear(Frame(Opcode.TEXT, frame).serialize(mask=True))
    await until(lambda: connection.session.transport == "websocket")
    heartbeat.time = 20.0
    heartbeat.hear(PONG)
    assert connection.session.deadline == 45.0


async def test_a_flood_of_pongs_ends_its_client(heartbeat: Heartbeat) -> None:
    connection = await heartbeat.connect()
    for _ in range(20):
        heartbeat.hear(PONG)
    assert connection.closed
