"""Consumers of WebSockets under an ASGI server of whose connections nothing is known."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from events.commands import CommandHandler
from events.connection import EngineConnection, EngineEndpoint
from events.consumers import EngineWebSocketConsumer, PlainWebSocketConsumer
from events.gate import Gate
from events.pipes import AsgiPipe
from events.plain_app import PlainEndpoint
from events.protocol.engineio import EngineConfig
from tests.fanout.support import stage, until

SCOPE: dict[str, Any] = {
    "type": "websocket",
    "headers": [],
    "client": ["192.0.2.1", 1234],
    "query_string": b"EIO=4&transport=websocket",
}

Consumer = EngineWebSocketConsumer | PlainWebSocketConsumer


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
