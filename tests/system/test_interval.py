"""`WS_DELIVERY_INTERVAL_MS`: events that come one by one share a message to the server processes and a write to each client."""

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.redis_server import RedisServer, published
from tests.system.event_data import run_of
from tests.system.sockets import TEXT, RawSocket, raw_websocket
from tests.system.stack import DEADLINE_S, Server, Stack

INTERVAL_MS = "500"
EVENTS = 20
PAUSE_S = 0.01


@pytest.mark.parametrize("way", ["embedded", "stream", "channel"])
async def test_steps_are_an_interval_apart(new_stack: Callable[..., Stack], way: str) -> None:
    """At most one for each interval that went by, however slow the machine is."""
    embedded = way == "embedded"
    with RedisServer() as redis, new_stack(None if embedded else redis, WS_DELIVERY_INTERVAL_MS=INTERVAL_MS) as stack:
        server = started(stack)
        async with published(redis.port, f"{stack.prefix}*") as heard, raw_websocket(server, "/ws/events") as client:
            await subscribe(client)
            began = time.monotonic()
            publishing = asyncio.create_task(asyncio.to_thread(publish, stack, server, way))
            reads = await read_events(client, EVENTS)
            most = 1 + (time.monotonic() - began) * 1_000 / int(INTERVAL_MS)
            await publishing
    assert [int(number) for number in re.findall(rb'"number": ?(\d+)', b"".join(reads))] == list(range(EVENTS))
    assert len(reads) <= most
    batches = sum(b"events.batch" in message for _, message in heard)
    assert batches <= most
    assert (batches == 0) == embedded


def started(stack: Stack) -> Server:
    if stack.redis is not None:
        stack.runbus().await_log("pubsub_hearing")
    return stack.serve()


async def subscribe(client: RawSocket) -> None:
    client.write(TEXT, json.dumps({"event": "subscribe_workflow", "data": {"workflow_id": "w"}}).encode())
    while '"subscribed"' not in await client.read_text():
        pass


def publish(stack: Stack, server: Server, way: str) -> None:
    """One by one."""
    ways: dict[str, Callable[[dict[str, Any]], object]] = {
        "embedded": server.publish,
        "stream": stack.add_to_stream,
        "channel": stack.publish_on_channel,
    }
    for event in run_of(EVENTS, "w"):
        ways[way](event)
        time.sleep(PAUSE_S)


async def read_events(client: RawSocket, count: int) -> list[bytes]:
    """What each read of the socket brought, until there were so many events: no more reads than the server's writes."""
    reads: list[bytes] = []
    async with asyncio.timeout(DEADLINE_S):
        while b"".join(reads).count(b'"workflow_event"') < count:
            reads.append(await client.reader.read(65_536))
            assert reads[-1], "the server has closed the connection"
    return reads
