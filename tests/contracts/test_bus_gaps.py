"""What an input could not read is found and told: trimmed and re-created streams, deaf and overfull channels."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from events.bus.gap_log import MAX_GAPS, GapLog
from events.bus.memory import MemoryBus
from events.bus.redis_pubsub import RedisPubSubReader
from events.bus.redis_stream import RedisStreamBus, RedisStreamReader
from events.domain.sizes import READ_BYTES
from events.ports import BusEntry, BusGap, BusReader, EventBus, Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import eventually, hears_again, says, waits_skipped
from tests.redis_server import RedisServer


@pytest.fixture
def reader(link: RedisLink, keys: Keys) -> RedisStreamReader:
    return RedisStreamReader(link, keys)


def told(reader: BusReader) -> list[tuple[str, int | None]]:
    """Reason and count of each gap since the last call."""
    return [(gap.reason, gap.count) for gap in reader.gaps()]


def documents(entries: Sequence[BusEntry]) -> list[bytes]:
    return [entry.document for entry in entries]


async def add(link: RedisLink, keys: Keys, count: int, *options: Any, name: str = "e") -> list[str]:
    """Add entries in one step; `options` are those of XADD. Returns their ids."""
    added = await link.atomically(
        ("XADD", keys.bus, *options, "*", "event", f"{name}{number}") for number in range(1, count + 1)
    )
    return [identifier.decode() for identifier in added]


async def test_at_the_end_of_the_stream_a_read_waits_before_it_looks(
    link: RedisLink, keys: Keys, reader: RedisStreamReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look is a round trip by which an event that comes alone would be later."""
    looks: list[str] = []
    look = reader._look

    async def noted(place: Any, limit: int, wait: Any, wait_s: float) -> Any:
        looks.append("waits" if wait else "looks")
        return await look(place, limit, wait, wait_s)

    monkeypatch.setattr(reader, "_look", noted)
    await add(link, keys, 3)
    read = await reader.read("", 2, 10)
    read = await reader.read(read[-1].cursor, 2, 10)
    waiting = asyncio.create_task(reader.read(read[-1].cursor, 2, 10))
    await eventually(lambda: blocked(link))
    await add(link, keys, 1, name="late")
    assert documents(await waiting) == [b"late1"]
    assert looks == ["looks", "looks", "waits"]


async def blocked(link: RedisLink) -> bool:
    """Whether somebody waits for something to come."""
    return b"blocked_clients:0" not in await link.call("INFO", "clients")


# -- entries that were trimmed before they were read -------------------------------------------------------------------


async def test_what_a_producer_trimmed_while_nobody_read_is_counted(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    bus = RedisStreamBus(link, keys, 200)
    await bus.publish([b"first"] * 100)
    read = await reader.read("", 100, 0)
    assert reader.gaps() == []
    for _ in range(10):
        await bus.publish([b"later"] * 100)
    rest = await reader.read(read[-1].cursor, 5000, 0)
    [gap] = reader.gaps()
    assert (gap.source, gap.reason) == ("stream", "trimmed")
    assert gap.count is not None
    assert gap.count >= 700
    assert 100 + gap.count + len(rest) == 1100
    assert gap.since is not None
    assert gap.until is not None
    assert time.time() - 60 < gap.since <= gap.until < time.time() + 60
    assert await reader.read(rest[-1].cursor, 10, 0) == []
    assert reader.gaps() == []


async def test_a_gap_is_exact_when_the_end_is_not_reached(link: RedisLink, keys: Keys, reader: RedisStreamReader) -> None:
    await add(link, keys, 5)
    read = await reader.read("", 3, 0)
    await add(link, keys, 20, "MAXLEN", 10)
    rest = await reader.read(read[-1].cursor, 4, 0)
    assert documents(rest) == [b"e11", b"e12", b"e13", b"e14"]
    assert told(reader) == [("trimmed", 12)]
    assert len(await reader.read(rest[-1].cursor, 100, 0)) == 6
    assert reader.gaps() == []


async def test_entries_that_were_read_before_they_were_trimmed_are_no_gap(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    cursor = ""
    for _ in range(20):
        await add(link, keys, 10, "MAXLEN", 10)
        cursor = (await reader.read(cursor, 10, 0))[-1].cursor
    await link.call("XTRIM", keys.bus, "MAXLEN", 0)
    assert await reader.read(cursor, 10, 0) == []
    await add(link, keys, 1)
    assert len(await reader.read(cursor, 10, 0)) == 1
    assert reader.gaps() == []


async def test_a_gap_is_told_once_by_a_reader_and_again_by_one_made_anew(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    await add(link, keys, 2)
    cursor = (await reader.read("", 2, 0))[-1].cursor
    await add(link, keys, 10, "MAXLEN", 4)
    first = await reader.read(cursor, 2, 0)
    assert await reader.read(cursor, 2, 0) == first
    assert told(reader) == [("trimmed", 6)]
    again = RedisStreamReader(link, keys)
    assert await again.read(cursor, 2, 0) == first
    assert told(again) == [("trimmed", 6)]
    assert len(await again.read(first[-1].cursor, 10, 0)) == 2
    assert again.gaps() == []


async def test_a_gap_with_nothing_behind_it_is_told_at_once_and_once(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    await add(link, keys, 2)
    cursor = (await reader.read("", 2, 0))[-1].cursor
    await add(link, keys, 10)
    await link.call("XTRIM", keys.bus, "MAXLEN", 0)
    for _ in range(3):
        assert await reader.read(cursor, 10, 0) == []
    assert told(reader) == [("trimmed", 10)]
    await add(link, keys, 3)
    await link.call("XTRIM", keys.bus, "MAXLEN", 2)
    assert len(await reader.read(cursor, 10, 0)) == 2
    assert told(reader) == [("trimmed", 1)]


async def test_before_the_first_cursor_nothing_is_missing(link: RedisLink, keys: Keys, reader: RedisStreamReader) -> None:
    await add(link, keys, 20, "MAXLEN", 5)
    entries = await reader.read("", 3, 0)
    assert documents(entries) == [b"e16", b"e17", b"e18"]
    assert len(await reader.read(entries[-1].cursor, 10, 0)) == 2
    assert reader.gaps() == []


async def test_a_reader_that_waited_at_an_empty_stream_knows_what_it_missed(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    assert await reader.read("", 10, 0) == []
    await add(link, keys, 20, "MAXLEN", 5)
    assert len(await reader.read("", 10, 0)) == 5
    assert told(reader) == [("trimmed", 15)]


async def test_a_cursor_that_is_a_plain_id_is_taken_and_counted_from_the_end_on(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    ids = await add(link, keys, 10)
    some = await reader.read(ids[2], 3, 0)
    assert documents(some) == [b"e4", b"e5", b"e6"]
    rest = await reader.read(some[-1].cursor, 100, 0)
    assert documents(rest) == [b"e7", b"e8", b"e9", b"e10"]
    assert reader.gaps() == []
    await add(link, keys, 10, "MAXLEN", 4)
    assert len(await reader.read(rest[-1].cursor, 100, 0)) == 4
    assert told(reader) == [("trimmed", 6)]


async def test_entries_deleted_from_the_middle_are_counted_when_they_were_not_read(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    ids = await add(link, keys, 20)
    entries = await reader.read("", 5, 0)
    await link.call("XDEL", keys.bus, ids[1], ids[4])
    entries = await reader.read(entries[-1].cursor, 3, 0)
    assert documents(entries) == [b"e6", b"e7", b"e8"]
    assert reader.gaps() == []
    await link.call("XDEL", keys.bus, ids[9], ids[11], ids[19])
    entries = await reader.read(entries[-1].cursor, 100, 0)
    assert len(entries) == 9
    assert told(reader) == [("trimmed", 3)]
    await add(link, keys, 5)
    assert len(await reader.read(entries[-1].cursor, 100, 0)) == 5
    assert reader.gaps() == []


async def test_read_and_told_are_together_what_was_published(link: RedisLink, keys: Keys, reader: RedisStreamReader) -> None:
    chance = random.Random(11)
    cursor, published, read, missed = "", 0, 0, 0
    assert await reader.read("", 1, 0) == []
    for _ in range(150):
        count = chance.randrange(30)
        published += count
        ids = await add(link, keys, count, "MAXLEN", chance.choice([5, 20, 60]))
        if ids and chance.random() < 0.3:
            await link.call("XDEL", keys.bus, chance.choice(ids))
        entries = await reader.read(cursor, chance.choice([1, 7, 100]), 0)
        missed += sum(gap.count or 0 for gap in reader.gaps())
        if entries:
            read, cursor = read + len(entries), entries[-1].cursor
            if chance.random() < 0.2:
                reader = RedisStreamReader(link, keys)
        assert read + missed <= published
        if chance.random() < 0.1:
            read += len(entries := await reader.read(cursor, 10_000, 0))
            cursor = entries[-1].cursor if entries else cursor
            missed += sum(gap.count or 0 for gap in reader.gaps())
            assert read + missed == published
    assert missed > 100


async def test_a_redis_that_does_not_count_is_read_without_detection(
    link: RedisLink, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from events.bus import redis_stream

    monkeypatch.setattr(redis_stream, "_READ", redis_stream._READ.replace("'entries-added'", "'not-in-redis-6'"))
    reader = RedisStreamReader(link, keys)
    ids = await add(link, keys, 5)
    entries = await reader.read("", 3, 0)
    assert [entry.cursor for entry in entries] == ids[:3]
    await add(link, keys, 20, "MAXLEN", 10)
    assert len(await reader.read(entries[-1].cursor, 100, 0)) == 10
    assert reader.gaps() == []
    # A cursor from a newer Redis is no obstacle.
    assert len(await reader.read(f"{entries[-1].cursor}/3", 100, 0)) == 10
    assert reader.gaps() == []


# -- streams that are not what they were -------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [False, True], ids=["same-reader", "new-reader"])
@pytest.mark.parametrize("lower", [False, True], ids=["higher-ids", "lower-ids"])
async def test_a_stream_made_anew_is_read_from_its_beginning(
    link: RedisLink, keys: Keys, reader: RedisStreamReader, fresh: bool, lower: bool
) -> None:
    await add(link, keys, 10)
    cursor = (await reader.read("", 10, 0))[-1].cursor
    await link.call("DEL", keys.bus)
    for number in range(1, 4):
        await link.call("XADD", keys.bus, f"{number}-0" if lower else "*", "event", f"new{number}")
    if fresh:
        reader = RedisStreamReader(link, keys)
    entries = await reader.read(cursor, 2, 0)
    assert documents(entries) == [b"new1", b"new2"]
    assert told(reader) == [("recreated", None)]
    entries = await reader.read(entries[-1].cursor, 10, 0)
    assert documents(entries) == [b"new3"]
    assert await reader.read(entries[-1].cursor, 10, 0) == []
    assert reader.gaps() == []


async def test_a_stream_made_anew_under_the_same_ids_is_another_one(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    for number in range(1, 6):
        await link.call("XADD", keys.bus, f"{number}-0", "event", f"old{number}")
    cursor = (await reader.read("", 10, 0))[-1].cursor
    await link.call("DEL", keys.bus)
    await link.call("XADD", keys.bus, "1-0", "event", "new1")
    assert documents(await reader.read(cursor, 10, 0)) == [b"new1"]
    assert told(reader) == [("recreated", None)]


async def test_a_plain_id_above_a_stream_made_anew_is_noticed(link: RedisLink, keys: Keys, reader: RedisStreamReader) -> None:
    await link.call("XADD", keys.bus, "1-0", "event", "new")
    assert documents(await reader.read("7-3", 10, 0)) == [b"new"]
    assert told(reader) == [("recreated", None)]


async def test_a_stream_made_anew_that_has_outgrown_the_old_one_is_noticed(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    await add(link, keys, 3)
    cursor = (await reader.read("", 10, 0))[-1].cursor
    await link.call("DEL", keys.bus)
    await add(link, keys, 8, name="new")
    entries = await reader.read(cursor, 5, 0)
    entries += await reader.read(entries[-1].cursor, 10, 0)
    assert documents(entries) == [f"new{number}".encode() for number in range(1, 9)]
    assert told(reader) == [("recreated", None)]
    assert await reader.read(entries[-1].cursor, 10, 0) == []
    assert reader.gaps() == []


async def test_a_deleted_stream_is_told_once_and_the_next_one_is_counted(
    link: RedisLink, keys: Keys, reader: RedisStreamReader
) -> None:
    await add(link, keys, 10)
    cursor = (await reader.read("", 10, 0))[-1].cursor
    await link.call("DEL", keys.bus)
    for _ in range(3):
        assert await reader.read(cursor, 10, 0) == []
    assert told(reader) == [("recreated", None)]
    await add(link, keys, 30, "MAXLEN", 20)
    assert len(await reader.read(cursor, 100, 0)) == 20
    assert told(reader) == [("trimmed", 10)]


async def test_a_waiting_read_goes_over_to_a_stream_made_anew(link: RedisLink, keys: Keys, reader: RedisStreamReader) -> None:
    await add(link, keys, 10)
    cursor = (await reader.read("", 10, 0))[-1].cursor
    reading = asyncio.create_task(reader.read(cursor, 10, 20))
    await eventually(lambda: blocked(link))
    await link.call("DEL", keys.bus)
    await add(link, keys, 2, name="new")
    assert documents(await reading) == [b"new1", b"new2"]
    assert told(reader) == [("recreated", None)]


@pytest.mark.parametrize("published", [0, 3, 50], ids=["nothing-new", "some-new", "more-than-lost"])
async def test_a_stream_restored_from_an_older_file_is_not_read_twice(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys, published: int
) -> None:
    reader = RedisStreamReader(own_link, keys)
    await add(own_link, keys, 10, name="kept")
    read = await reader.read("", 10, 0)
    own_redis.command("SAVE")
    await add(own_link, keys, 5, name="lost")
    read = await reader.read(read[-1].cursor, 10, 0)
    own_redis.kill()
    with pytest.raises(Unavailable):
        await reader.read(read[-1].cursor, 10, 0)
    own_redis.start()
    new = [f"new{number}".encode() for number in range(1, published + 1)]
    for document in new:
        own_redis.command("XADD", keys.bus, "*", "event", document)
    entries = await reader.read(read[-1].cursor, 100, 0)
    assert documents(entries) == new
    assert told(reader) == [("recreated", None)]
    own_redis.command("XADD", keys.bus, "*", "event", "last")
    assert documents(await reader.read((entries or read)[-1].cursor, 100, 1)) == [b"last"]
    assert reader.gaps() == []


async def test_a_restart_with_a_file_keeps_the_count(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    reader = RedisStreamReader(own_link, keys)
    await add(own_link, keys, 30, "MAXLEN", 20)
    cursor = (await reader.read("", 5, 0))[-1].cursor
    await add(own_link, keys, 10, "MAXLEN", 20)
    own_redis.command("SAVE")
    own_redis.kill()
    own_redis.start()
    again = RedisStreamReader(RedisLink(own_redis.url), keys)
    assert len(await again.read(cursor, 100, 0)) == 20
    assert told(again) == [("trimmed", 5)]
    await again._link.close()


# -- a channel that was not heard, or too fast -------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["cut", "restart"])
async def test_a_deaf_time_is_told_once_it_is_over(own_redis: RedisServer, own_link: RedisLink, keys: Keys, fault: str) -> None:
    reader = RedisPubSubReader(own_link, keys)
    began = time.time()
    await hears_again(reader, own_redis, keys)
    assert reader.gaps() == []
    before = time.time()
    if fault == "cut":
        assert own_redis.command("CLIENT", "KILL", "TYPE", "pubsub") == 1
    else:
        own_redis.kill()
        await says(reader, "cannot be reached")
        assert reader.gaps() == []
        own_redis.start()
    back = time.time()
    await hears_again(reader, own_redis, keys)
    [gap] = reader.gaps()
    assert (gap.source, gap.reason, gap.count) == ("pubsub", "deaf", None)
    assert gap.since is not None
    assert gap.until is not None
    assert began < gap.since <= before
    assert gap.until <= time.time()
    assert gap.until > (back if fault == "restart" else before)
    assert reader.gaps() == []
    await reader.close()


async def test_a_channel_that_hung_was_deaf_since_it_was_last_heard(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys
) -> None:
    reader = RedisPubSubReader(own_link, keys)
    asked = time.time()
    await hears_again(reader, own_redis, keys)
    own_redis.pause()
    frozen = time.time()
    with waits_skipped():
        await says(reader, "does not answer", 3.0)
    own_redis.resume()
    resumed = time.time()
    await hears_again(reader, own_redis, keys)
    [gap] = reader.gaps()
    assert gap.since is not None
    assert gap.until is not None
    assert asked < gap.since <= frozen < resumed < gap.until
    await reader.close()


async def test_a_first_read_that_had_to_wait_for_redis_was_deaf(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys
) -> None:
    own_redis.kill()
    reader = RedisPubSubReader(own_link, keys)
    asked = time.time()
    with pytest.raises(Unavailable):
        await reader.read("", 10, 0)
    failed = time.time()
    own_redis.start()
    await hears_again(reader, own_redis, keys)
    [gap] = reader.gaps()
    assert gap.reason == "deaf"
    assert gap.since is not None
    assert asked <= gap.since < failed
    await reader.close()


async def test_what_a_full_queue_dropped_is_told(link: RedisLink, keys: Keys) -> None:
    reader = RedisPubSubReader(link, keys, queue_documents=3)
    await reader.read("", 10, 0)
    before = time.time()
    await link.pipeline(("PUBLISH", keys.bus, number) for number in range(10))

    async def dropped() -> bool:
        return reader.queue().dropped == 7

    await eventually(dropped)
    assert documents(await reader.read("", 2, 0)) == [b"0", b"1"]
    [gap] = reader.gaps()
    assert (gap.source, gap.reason, gap.count) == ("pubsub", "dropped", 7)
    assert gap.since is not None
    assert gap.until is not None
    assert before <= gap.since <= gap.until <= time.time()
    assert reader.gaps() == []
    await reader.close()
    assert told(reader) == [("dropped", 1)]


async def test_a_channel_queue_is_bounded_in_bytes(link: RedisLink, keys: Keys) -> None:
    reader = RedisPubSubReader(link, keys, queue_bytes=2500)
    await reader.read("", 10, 0)
    await link.pipeline(("PUBLISH", keys.bus, b"x" * 1000) for _ in range(4))

    async def dropped() -> bool:
        return reader.queue().dropped == 2

    await eventually(dropped)
    assert len(await reader.read("", 10, 0)) == 2
    await link.pipeline([("PUBLISH", keys.bus, b"y" * 2500)])
    assert documents(await reader.read("", 10, 5)) == [b"y" * 2500]
    assert told(reader) == [("dropped", 2)]
    await reader.close()


async def test_a_closed_channel_input_begins_anew_and_is_not_deaf_meanwhile(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys
) -> None:
    reader = RedisPubSubReader(own_link, keys)
    await hears_again(reader, own_redis, keys)
    await reader.close()
    assert own_redis.command("PUBLISH", keys.bus, "nobody") == 0
    assert await reader.read("", 10, 0) == []
    await hears_again(reader, own_redis, keys)
    assert reader.gaps() == []
    await reader.close()


# -- every input -------------------------------------------------------------------------------------------------------


async def read_in_batches(reader: BusReader, count: int) -> list[list[BusEntry]]:
    batches: list[list[BusEntry]] = []
    while sum(map(len, batches)) < count:
        batches.append(await reader.read(batches[-1][-1].cursor if batches else "", 1000, 5))
        assert batches[-1]
    return batches


@pytest.mark.parametrize("kind", ["memory", "stream", "pubsub"])
async def test_a_read_is_bounded_in_bytes(link: RedisLink, keys: Keys, kind: str) -> None:
    big = [b"x" * 1_000_000] * 9 + [b"y" * (READ_BYTES + 1)] + [b"z"] * 20
    memory = MemoryBus(1000)
    bus: EventBus = memory if kind == "memory" else RedisStreamBus(link, keys, 1000)
    readers: dict[str, BusReader] = {
        "memory": memory.reader(),
        "stream": RedisStreamReader(link, keys),
        "pubsub": RedisPubSubReader(link, keys),
    }
    reader = readers[kind]
    assert await reader.read("", 10, 0) == []
    if kind == "pubsub":
        await link.pipeline(("PUBLISH", keys.bus, document) for document in big)
    else:
        await bus.publish(big)
    batches = await read_in_batches(reader, len(big))
    assert [document for batch in batches for document in documents(batch)] == big
    for batch in batches:
        assert len(batch) == 1 or sum(map(len, documents(batch))) <= READ_BYTES
    assert reader.gaps() == []
    await reader.close()
    await link.call("DEL", keys.bus)


def test_gaps_nobody_asks_for_stay_bounded_and_lose_nothing() -> None:
    gaps = GapLog()
    for number in range(500):
        gaps.add(BusGap("pubsub", "deaf", None, number, number + 0.5))
        gaps.add(BusGap("pubsub", "dropped", 2, number + 0.6, number + 0.7))
    kept = gaps.take()
    assert len(kept) == MAX_GAPS
    assert sum(gap.count or 0 for gap in kept) == 1000
    assert max(gap.until or 0 for gap in kept if gap.reason == "deaf") == 499.5
    assert gaps.take() == []
