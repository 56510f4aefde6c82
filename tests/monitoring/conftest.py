"""Monitoring as an operator meets it: other processes have reported to a real Redis, and this process serves the pages."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events import bridge
from events.conf import EventsConfig
from events.wiring import Adapters, build_adapters
from tests.monitoring.rows import Told
from tests.redis_server import RedisServer, free_port

#: Long enough for any test.
TTL_S = 60.0

Elsewhere = Callable[[Callable[[Adapters], Awaitable[object]]], None]
Report = Callable[[Told], None]


@pytest.fixture(scope="package")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    """Each test's configuration gets an event loop of its own beside the views; it ends with the test."""
    yield
    bridge.close()


@pytest.fixture
def use(settings: Any) -> Callable[..., EventsConfig]:
    """Changes fields of the EVENTS settings for this test."""

    def change(**fields: Any) -> EventsConfig:
        settings.EVENTS = replace(settings.EVENTS, **fields)
        changed: EventsConfig = settings.EVENTS
        return changed

    return change


@pytest.fixture
def embedded(use: Callable[..., EventsConfig]) -> EventsConfig:
    """The embedded default, in a process that runs no server."""
    return use(redis_url="", auth_tokens=(), require_auth=False)


@pytest.fixture
def on_redis(use: Callable[..., EventsConfig], redis_server: RedisServer) -> EventsConfig:
    """Redis, under names that no other test uses."""
    name = uuid.uuid4().hex
    return use(redis_url=redis_server.url, redis_prefix=name, bus_name=f"bus-{name}", auth_tokens=(), require_auth=False)


@pytest.fixture
def redis_is_gone(use: Callable[..., EventsConfig]) -> EventsConfig:
    """A Redis address where nobody listens."""
    return use(redis_url=f"redis://127.0.0.1:{free_port()}/0", auth_tokens=(), require_auth=False)


@pytest.fixture
def elsewhere(on_redis: EventsConfig) -> Elsewhere:
    """Runs what another process would do, with the adapters of that process."""

    async def act(action: Callable[[Adapters], Awaitable[object]]) -> None:
        adapters = build_adapters(on_redis)
        try:
            await action(adapters)
        finally:
            await adapters.close()

    return lambda action: asyncio.run(act(action))


@pytest.fixture
def report(elsewhere: Elsewhere) -> Report:
    """Writes what another process says of itself."""
    return lambda process: elsewhere(lambda adapters: process.to(adapters.registry, TTL_S))


@pytest.fixture
def operator(client: Client, db: None) -> Client:
    """A browser that is signed in to the admin."""
    client.force_login(User.objects.create_superuser("operator"))
    return client
