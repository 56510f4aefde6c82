import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from events.conf import HistoryLimits
from events.history.memory import MemoryHistory
from events.history.redis import RedisHistory
from events.ports import History
from events.redis_link import Keys, RedisLink
from tests.contracts.support import NOW, Build, Clock
from tests.redis_server import RedisServer


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """For tests that keep to their own keys and leave the server alone."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """For tests that hurt the server."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def keys() -> Keys:
    """Names that no other test uses."""
    name = secrets.token_hex(6)
    return Keys(prefix=f"test-{name}", bus_name=f"bus-{name}")


@pytest_asyncio.fixture
async def link(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisLink]:
    # What these tests ask for at once takes a busy machine longer than a relay would wait.
    monkeypatch.setattr("events.redis_link.REPLY_TIMEOUT_S", 20.0)
    link = RedisLink(shared_redis.url)
    yield link
    await link.close()


@pytest_asyncio.fixture
async def own_link(own_redis: RedisServer) -> AsyncIterator[RedisLink]:
    link = RedisLink(own_redis.url)
    yield link
    await link.close()


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture(params=["memory", "redis"])
def build(request: pytest.FixtureRequest, keys: Keys, link: RedisLink, clock: Clock) -> Build:
    """Makes a history with limits of the test's choice."""

    def make(**limits: Any) -> History:
        if request.param == "memory":
            return MemoryHistory(HistoryLimits(**limits), clock)
        return RedisHistory(link, keys, HistoryLimits(**limits))

    return make


@pytest.fixture
def history(build: Build) -> History:
    return build()
