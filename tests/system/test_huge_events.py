"""An event of 40 MB on the bus: refused, kept as a dead letter that is cut, and nobody else notices."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.redis_server import RedisServer
from tests.system.clients import PythonClient
from tests.system.conftest import Connect
from tests.system.event_data import assert_contiguous, event, numbers
from tests.system.stack import Server, Stack, await_condition

#: More than the executors of anybody should send: Redis itself takes up to 512 MB.
HUGE: Final = 40_000_000

#: What is kept of it, as `WS_MAX_EVENT_BYTES` says.
KEPT: Final = 1_000_000

REJECTED: Final = "workflow_events:rejected"


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    # As in docker-compose.yml: Redis by itself cuts a subscriber off that is sent more than 32 MB.
    with RedisServer("--client-output-buffer-limit", "pubsub 128mb 64mb 60") as server:
        yield server


@pytest.fixture(scope="module")
def stack(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("huge"), redis_server) as running:
        running.runbus().await_log("pubsub_hearing")
        yield running


@pytest.fixture(scope="module")
def server(stack: Stack) -> Server:
    return stack.serve()


@pytest.mark.parametrize("way", ["stream", "pubsub"])
async def test_an_event_of_40_mb_disturbs_nobody(
    stack: Stack, server: Server, redis_server: RedisServer, connect: Connect, way: str
) -> None:
    publish: Callable[..., None] = stack.add_to_stream if way == "stream" else stack.publish_on_channel
    client: PythonClient = await connect("python-websocket", server)
    await client.emit("subscribe_workflow", {"workflow_id": way})
    await client.wait("subscribed")
    events = [event(0, way), event(1, way, outputs="x" * HUGE), event(2, way)]
    await asyncio.to_thread(publish, *events)
    arrived = await client.wait("workflow_event", 2)
    found: list[dict[str, Any]] = client.all("workflow_event")
    assert arrived
    assert numbers(found) == [0, 2]
    assert_contiguous(found, "workflow")
    assert client.all("events_missed") == []

    (letter,) = [each for each in letters(redis_server) if each[b"source"] == way.encode()]
    assert int(letter[b"size"]) > HUGE
    assert len(letter[b"document"]) == KEPT
    assert b"at most 1000000 are taken (WS_MAX_EVENT_BYTES)" in letter[b"reason"]
    await_condition(lambda: server.json("/health")["status"] == "healthy", lambda: str(server.get("/health")))


def letters(redis_server: RedisServer) -> list[dict[bytes, bytes]]:
    """All dead letters, by field."""
    found = redis_server.command("XRANGE", REJECTED, "-", "+")
    return [fields for _, fields in found]
