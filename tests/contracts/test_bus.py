"""`events.ports.EventBus` and `BusReader` on memory, Redis Stream and Redis pub/sub."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest
import pytest_asyncio

from events.bus.memory import MemoryBus
from events.bus.redis_pubsub import RedisPubSubReader
from events.bus.redis_stream import RedisStreamBus, RedisStreamReader
from events.ports import BusEntry, BusReader, EventBus, Queue, Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import DEADLINE_S

Publish = Callable[[Sequence[bytes]], Awaitable[object]]

ODD = [b'{"a": 1}', b"", b"\x00\xff\xfe not UTF-8", "🎉".encode(), b"x" * 200_000]


@dataclass
class Input:
    """A reader, and how documents get to it."""

    reader: BusReader
    publish: Publish


@pytest_asyncio.fixture(params=["memory", "redis-stream"])
async def bus_and_reader(
    request: pytest.FixtureRequest, link: RedisLink, keys: Keys
) -> AsyncIterator[tuple[EventBus, BusReader]]:
    bus: EventBus
    reader: BusReader
    if request.param == "memory":
        bus = MemoryBus(1000)
        reader = bus.reader()
    else:
        bus, reader = RedisStreamBus(link, keys, 1000), RedisStreamReader(link, keys)
    yield bus, reader
    await reader.close()
    await bus.close()


@pytest_asyncio.fixture(params=["memory", "redis-stream", "redis-pubsub"])
async def source(request: pytest.FixtureRequest, link: RedisLink, keys: Keys) -> AsyncIterator[Input]:
    """Any input, ready to hear."""
    if request.param == "memory":
        bus = MemoryBus(1000)
        made = Input(bus.reader(), bus.publish)
    elif request.param == "redis-stream":
        made = Input(RedisStreamReader(link, keys), RedisStreamBus(link, keys, 1000).publish)
    else:
        made = Input(RedisPubSubReader(link, keys), lambda documents: publish_to_channel(link, keys, documents))
    assert await made.reader.read("", 10, 0) == []
    yield made
    await made.reader.close()


async def publish_to_channel(link: RedisLink, keys: Keys, documents: Sequence[bytes]) -> None:
    await link.pipeline(("PUBLISH", keys.bus, document) for document in documents)


async def read_all(reader: BusReader, count: int, limit: int = 1000) -> list[BusEntry]:
    """Read on until `count` entries have come."""
    entries: list[BusEntry] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(entries) < count:
        assert time.monotonic() < deadline, f"only {len(entries)} of {count} came"
        batch = await reader.read(entries[-1].cursor if entries else "", limit, 0.5)
        assert len(batch) <= limit
        entries += batch
    return entries


# -- every input -------------------------------------------------------------------------------------------------------


async def test_a_stream_tells_how_full_it_is(link: RedisLink, keys: Keys) -> None:
    bus = RedisStreamBus(link, keys, 1000)
    await bus.publish([b"a", b"b"])
    assert await bus.fill() == {"stream": Queue(1000, 2)}


async def test_documents_arrive_byte_for_byte_in_order(source: Input) -> None:
    await source.publish(ODD[:3])
    await source.publish(ODD[3:])
    assert [entry.document for entry in await read_all(source.reader, 5)] == ODD


async def test_an_entry_tells_when_the_bus_took_it(source: Input) -> None:
    before = time.time()
    await source.publish([b"a"])
    [entry] = await read_all(source.reader, 1)
    # Redis tells whole milliseconds.
    assert before - 0.001 <= entry.at <= time.time()


async def test_a_waiting_read_returns_as_soon_as_something_comes(source: Input) -> None:
    reading = asyncio.create_task(source.reader.read("", 10, DEADLINE_S))
    await asyncio.sleep(0)
    began = time.monotonic()
    await source.publish([b"now"])
    assert [entry.document for entry in await reading] == [b"now"]
    assert time.monotonic() - began < DEADLINE_S / 2


async def test_a_read_in_vain_returns_nothing_after_its_time(source: Input) -> None:
    began = time.monotonic()
    assert await source.reader.read("", 10, 0.2) == []
    assert 0.15 < time.monotonic() - began < DEADLINE_S / 2
    assert await source.reader.read("", 10, 0) == []


async def test_a_read_takes_at_most_its_limit_and_the_next_goes_on(source: Input) -> None:
    documents = [str(number).encode() for number in range(25)]
    await source.publish(documents)
    assert [entry.document for entry in await read_all(source.reader, 25, limit=10)] == documents


async def test_a_read_that_is_cancelled_loses_nothing(source: Input) -> None:
    for _ in range(5):
        reading = asyncio.create_task(source.reader.read("", 10, DEADLINE_S))
        await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.wait([reading])
    await source.publish([b"kept"])
    assert [entry.document for entry in await read_all(source.reader, 1)] == [b"kept"]


async def test_nothing_is_dropped_while_the_relay_keeps_up(source: Input) -> None:
    await source.publish([b"x"] * 100)
    await read_all(source.reader, 100)
    queue = source.reader.queue()
    assert queue is None or not queue.dropped


# -- inputs that keep what they have -----------------------------------------------------------------------------------


async def test_publish_returns_one_id_each_and_the_bus_has_them(bus_and_reader: tuple[EventBus, BusReader]) -> None:
    bus, reader = bus_and_reader
    ids = [*await bus.publish([b"a", b"b"]), *await bus.publish([b"c"])]
    assert len(set(ids)) == 3
    entries = await reader.read("", 10, 0)
    assert [entry.cursor.partition("/")[0] for entry in entries] == ids
    assert [entry.document for entry in entries] == [b"a", b"b", b"c"]


async def test_a_canary_comes_among_the_documents_and_is_none(bus_and_reader: tuple[EventBus, BusReader]) -> None:
    bus, reader = bus_and_reader
    await bus.publish([b"a"])
    await bus.publish_canary(trim=True)
    await bus.publish([b"canary"])
    entries = await reader.read("", 10, 0)
    assert [(entry.document, entry.canary) for entry in entries] == [(b"a", False), (b"", True), (b"canary", False)]
    assert await reader.read(entries[1].cursor, 10, 0) == [entries[2]]
    assert reader.gaps() == []


async def test_publishing_nothing_is_nothing(bus_and_reader: tuple[EventBus, BusReader]) -> None:
    bus, reader = bus_and_reader
    assert await bus.publish([]) == []
    assert await reader.read("", 10, 0) == []


async def test_a_durable_input_repeats_what_its_cursor_has_not_passed(bus_and_reader: tuple[EventBus, BusReader]) -> None:
    bus, reader = bus_and_reader
    assert reader.durable
    await bus.publish([b"a", b"b", b"c"])
    first = await reader.read("", 2, 0)
    assert await reader.read("", 2, 0) == first
    assert [entry.document for entry in await reader.read(first[0].cursor, 10, 0)] == [b"b", b"c"]
    [last] = await reader.read(first[1].cursor, 10, 0)
    assert last.document == b"c"
    assert await reader.read(last.cursor, 10, 0) == []
    await bus.publish([b"d"])
    assert [entry.document for entry in await reader.read(last.cursor, 10, 0)] == [b"d"]


def test_the_inputs_have_different_names(link: RedisLink, keys: Keys) -> None:
    readers: list[BusReader] = [MemoryBus(1).reader(), RedisStreamReader(link, keys), RedisPubSubReader(link, keys)]
    assert [(reader.name, reader.durable) for reader in readers] == [("memory", True), ("stream", True), ("pubsub", False)]


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_a_full_memory_bus_refuses_all_or_nothing_until_the_relay_has_read_on() -> None:
    bus = MemoryBus(3)
    reader = bus.reader()
    await bus.publish([b"a", b"b"])
    with pytest.raises(Unavailable, match="full: 2 of 3"):
        await bus.publish([b"c", b"d"])
    entries = await reader.read("", 10, 0)
    assert [entry.document for entry in entries] == [b"a", b"b"]
    with pytest.raises(Unavailable):
        await bus.publish([b"c", b"d"])
    await reader.read(entries[0].cursor, 10, 0)
    await bus.publish([b"c", b"d"])
    assert [entry.document for entry in await reader.read(entries[1].cursor, 10, 0)] == [b"c", b"d"]


async def test_the_stream_is_capped(link: RedisLink, keys: Keys) -> None:
    bus, reader = RedisStreamBus(link, keys, 200), RedisStreamReader(link, keys)
    for _ in range(5):
        await bus.publish([b"x"] * 100)
    assert 200 <= len(await reader.read("", 1000, 0)) <= 300


async def test_a_canary_pushes_off_nothing_that_waits(link: RedisLink, keys: Keys) -> None:
    """Executors that trim nothing may have more on the stream than this server would keep."""
    bus, reader = RedisStreamBus(link, keys, 200), RedisStreamReader(link, keys)
    for _ in range(500):
        await link.call("XADD", keys.bus, "*", "event", "{}")
    await bus.publish_canary(trim=False)
    assert len(await reader.read("", 1000, 0)) == 501
    await bus.publish_canary(trim=True)
    assert 200 <= len(await RedisStreamReader(link, keys).read("", 1000, 0)) <= 300


async def test_a_slow_relay_makes_the_pubsub_input_drop_the_newest_and_count(link: RedisLink, keys: Keys) -> None:
    reader = RedisPubSubReader(link, keys, queue_documents=3)
    await reader.read("", 10, 0)
    await publish_to_channel(link, keys, [str(number).encode() for number in range(5)])
    deadline = time.monotonic() + DEADLINE_S
    while reader.queue().dropped < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    assert [entry.document for entry in await read_all(reader, 3)] == [b"0", b"1", b"2"]
    await publish_to_channel(link, keys, [b"5"])
    assert [entry.document for entry in await read_all(reader, 1)] == [b"5"]
    assert reader.queue().dropped == 2
    await reader.close()


# -- what executors really write ---------------------------------------------------------------------------------------


async def test_a_stream_entry_without_the_field_event_is_handed_over_empty(link: RedisLink, keys: Keys) -> None:
    reader = RedisStreamReader(link, keys)
    await link.call("XADD", keys.bus, "*", "data", '{"type": "x"}')
    await link.call("XADD", keys.bus, "*", "other", "1", "event", "{}")
    assert [entry.document for entry in await reader.read("", 10, 0)] == [b"", b"{}"]


async def test_the_channel_and_the_stream_do_not_mix(link: RedisLink, keys: Keys) -> None:
    stream, channel = RedisStreamReader(link, keys), RedisPubSubReader(link, keys)
    await channel.read("", 10, 0)
    await RedisStreamBus(link, keys, 100).publish([b"to the stream"])
    await publish_to_channel(link, keys, [b"to the channel"])
    assert [entry.document for entry in await read_all(channel, 1)] == [b"to the channel"]
    assert [entry.document for entry in await stream.read("", 10, 0)] == [b"to the stream"]
    await channel.close()
