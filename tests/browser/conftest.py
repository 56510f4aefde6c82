"""A deployment and a browser, both real, for all tests here: Redis, two servers, a relay, and Chromium."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, StorageState, expect

from tests.browser.pages import Tabs
from tests.chromium import chromium
from tests.redis_server import RedisServer
from tests.system.forked import Forked
from tests.system.stack import DEADLINE_S, ROOT, Server, Stack, await_condition

Publish = Callable[..., Coroutine[Any, Any, None]]

EXECUTOR: Final = Path(__file__).with_name("executor.py")

expect.set_options(timeout=DEADLINE_S * 1000)


@dataclass(frozen=True)
class Deployment:
    stack: Stack
    a: Server
    b: Server


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    with RedisServer() as redis, Stack(folder, redis) as stack:
        assert stack.manage("bootstrap").wait() == 0
        stack.runbus()
        a, b = stack.serve(wait=False), stack.serve(wait=False)
        for server in (a, b):
            server.await_health()
        listeners = ("PUBSUB", "NUMSUB", "workflow_events")
        await_condition(
            lambda: redis.command(*listeners)[1] == 1, lambda: f"the relay on the channel: {redis.command(*listeners)}"
        )
        yield Deployment(stack, a, b)
        # All at once: one after the other takes longer.
        for program in stack.programs:
            program.signal(signal.SIGTERM)


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An embedded server that asks for the token `right`."""
    with Stack(tmp_path_factory.mktemp("guarded"), WS_AUTH_TOKEN="right") as stack:
        yield stack.serve()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def signed_in() -> dict[Server, StorageState]:
    return {}


@pytest_asyncio.fixture(loop_scope="package")
async def tabs(browser: Browser, signed_in: dict[Server, StorageState]) -> AsyncIterator[Tabs]:
    """Opens pages for one test; a warning or an error of the browser about any of them fails the test."""
    opened = Tabs(browser, signed_in)
    yield opened
    assert await opened.close() == []


@pytest.fixture
def publish(deployment: Deployment, tmp_path: Path) -> Publish:
    """`publish(events, way="stream", per_second=0)`: another process publishes, and has ended when this returns."""
    redis = deployment.stack.redis
    assert redis is not None

    async def run(events: list[dict[str, Any]], way: str = "stream", per_second: float = 0) -> None:
        lines, log = (tmp_path / f"{secrets.token_hex(4)}.{kind}" for kind in ("jsonl", "log"))
        lines.write_text("\n".join(map(json.dumps, events)))
        process = Forked([str(EXECUTOR), redis.url, way, str(per_second), str(lines)], dict(os.environ), ROOT, log)
        assert await asyncio.to_thread(process.wait) == 0, log.read_text()

    return run
