"""Reading on in one topic, and learning that the history's end was lost, on memory and on Redis."""

import asyncio
import random

import pytest

from events.conf import HistoryLimits
from events.domain.entry import Entry, Position
from events.domain.event import Event
from events.history.lives import life_ms
from events.history.memory import MemoryHistory
from events.history.redis import RedisHistory
from events.ports import Append, History, Moved, TopicPage, Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import Build, Clock, event, write
from tests.redis_server import RedisServer

W1 = "workflow:w1"


def offsets(page: TopicPage, topic: str = W1) -> list[int]:
    return [offset_in(entry, topic) for entry in page.entries]


def offset_in(entry: Entry, topic: str) -> int:
    return entry.offsets[entry.topics.index(topic)]


async def append(history: History, events: list[Event]) -> list[Entry]:
    return await history.append(Append(1, await history.position(), "stream", "", events))


def large(size: int) -> Event:
    """An event of about so many bytes."""
    small = event()
    return small._replace(document=small.document[:-1] + b',"pad":"' + b"x" * size + b'"}')


# -- reading on in a topic ---------------------------------------------------------------------------------------------


async def test_a_topic_with_ten_thousand_entries_is_paged_through(history: History) -> None:
    written: list[Entry] = []
    for _ in range(10):
        written += await append(history, [event("w1"), event("w1"), event("w2"), event("w1", bot_id="b")] * 334)
    for topic in (W1, "bot:b", "all"):
        expected = [entry for entry in written if topic in entry.topics]
        offset, found = 0, list[Entry]()
        while offset < len(expected):
            page = await history.since(topic, offset, 700)
            assert 0 < len(page.entries) <= 700
            assert page.offset == len(expected)
            found += page.entries
            offset = offset_in(page.entries[-1], topic)
        assert found == expected


async def test_a_page_follows_the_offset_asked_for(history: History) -> None:
    entries = await append(history, [event("w1"), event("w2")] * 150)
    epoch = (await history.position()).epoch
    assert await history.since(W1, 10, 2) == TopicPage(epoch, 150, [entries[20], entries[22]])
    assert offsets(await history.since(W1, 0, 1)) == [1]
    assert offsets(await history.since(W1, -5, 1)) == [1]
    assert offsets(await history.since(W1, 147, 10)) == [148, 149, 150]
    assert offsets(await history.since(W1, 10, 0)) == []


@pytest.mark.parametrize("topic", [W1, "all"])
@pytest.mark.parametrize("offset", [2, 3, 10**15, 10**30])
async def test_at_the_end_and_ahead_of_it_there_is_nothing(history: History, topic: str, offset: int) -> None:
    await write(history, event("w1"), event("w1"))
    page = await history.since(topic, offset, 10)
    assert (page.epoch, page.offset, list(page.entries)) == ((await history.position()).epoch, 2, [])


async def test_a_topic_without_events_and_a_history_without_events_are_empty(history: History) -> None:
    page = await history.since(W1, 0, 10)
    assert (page.epoch, page.offset, list(page.entries)) == ((await history.position()).epoch, 0, [])
    await write(history, event("w2"))
    page = await history.since(W1, 0, 10)
    assert (page.offset, list(page.entries)) == (0, [])


async def test_reading_on_reaches_back_as_far_as_the_journal(build: Build) -> None:
    history = build(journal_events=200, recent_events=10)
    for _ in range(10):
        await append(history, [event("w1"), event("w2")] * 50)
    oldest = (await history.read(0, 1)).entries[0].number
    page = await history.since(W1, 0, 1000)
    first = (oldest + 2) // 2
    assert first > 300
    assert offsets(page) == list(range(first, 501))
    assert [entry.number for entry in (await history.since("all", 5, 3)).entries] == [oldest, oldest + 1, oldest + 2]


async def test_a_recent_buffer_that_reaches_further_back_than_the_journal_counts(build: Build) -> None:
    history = build(journal_events=100, recent_events=3)
    await append(history, [event("w1")] * 5)
    for _ in range(4):
        await append(history, [event("w2")] * 100)
    assert offsets(await history.since(W1, 0, 10)) == [3, 4, 5]
    assert offsets(await history.since(W1, 0, 2)) == [3, 4]
    assert offsets(await history.since(W1, 3, 10)) == [4, 5]
    # The journal has the newest entry only; the buffer has those before it as well.
    await append(history, [event("w1")])
    assert offsets(await history.since(W1, 0, 10)) == [4, 5, 6]


async def test_what_was_trimmed_by_age_is_left_out(build: Build, clock: Clock) -> None:
    history = build(journal_age_s=3600, recent_events=2)
    await append(history, [event("w1")] * 10)
    await history.trim(clock.now)
    clock.now += 1800
    await append(history, [event("w1")] * 10)
    await history.trim(clock.now)
    clock.now += 1801
    assert await history.trim(clock.now) == 10
    assert offsets(await history.since(W1, 3, 100)) == list(range(11, 21))
    clock.now += 1800
    assert await history.trim(clock.now) == 10
    assert offsets(await history.since(W1, 3, 100)) == [19, 20]
    assert list((await history.since("all", 3, 100)).entries) == []


async def test_an_epoch_that_ends_between_two_pages_shows(history: History) -> None:
    await append(history, [event("w1")] * 300)
    first = await history.since(W1, 0, 100)
    await history.witness(Position(first.epoch, 1000))
    second = await history.since(W1, 100, 100)
    assert second.epoch == (await history.position()).epoch != first.epoch
    assert (second.offset, list(second.entries)) == (0, [])
    [entry] = await append(history, [event("w1")])
    assert await history.since(W1, 0, 100) == TopicPage(second.epoch, 1, [entry])


@pytest.mark.parametrize("topic", [W1, "all"])
@pytest.mark.parametrize("recent_events", [1, 100], ids=["journal", "buffer"])
async def test_a_page_is_bounded_in_bytes_but_never_empty(build: Build, topic: str, recent_events: int) -> None:
    history = build(recent_events=recent_events)
    await append(history, [*[large(600_000)] * 5, large(3_000_000), large(600_000)])
    sizes, offset = [], 0
    while offset < 7:
        page = await history.since(topic, offset, 100)
        offset = offset_in(page.entries[-1], topic)
        sizes.append(len(page.entries))
    assert sizes == [3, 2, 1, 1]


async def test_a_batch_of_thousands_for_one_topic_is_indexed(history: History) -> None:
    await append(history, [event("w1")] * 9000)
    page = await history.since(W1, 4321, 10)
    assert offsets(page) == list(range(4322, 4332))


async def test_reading_on_agrees_with_the_journal_and_the_buffers_whatever_was_written(build: Build, clock: Clock) -> None:
    chance = random.Random(7)
    history = build(journal_events=150, recent_events=4, journal_age_s=100)
    topics = ["all", *(f"workflow:{name}" for name in "abc"), "bot:x"]
    written: list[Entry] = []
    for _ in range(30):
        events = [event(chance.choice("aabc"), **chance.choice([{}, {"bot_id": "x"}])) for _ in range(chance.randrange(40))]
        written += await append(history, events)
        clock.now += chance.randrange(20)
        await history.trim(clock.now)
        journal = list((await history.read(0, 100_000)).entries)
        for topic in topics:
            [recent] = await history.recent([topic])
            reached = min((e.number for e in [*journal, *recent.entries] if topic in e.topics), default=10**9)
            after, limit = chance.randrange(recent.offset + 2), chance.randrange(1, 50)
            expected = [e for e in written if topic in e.topics and e.number >= reached and offset_in(e, topic) > after]
            page = await history.since(topic, after, limit)
            assert (page.offset, list(page.entries)) == (recent.offset, expected[:limit])


# -- what time does to it ----------------------------------------------------------------------------------------------


async def test_memory_forgets_a_topic_with_its_offset(clock: Clock) -> None:
    history = MemoryHistory(HistoryLimits(recent_ttl_s=10, offset_ttl_s=100, recent_events=1, journal_events=6), clock)
    await append(history, [event("w1")] * 5)
    clock.now += 50
    assert offsets(await history.since(W1, 1, 10)) == [2, 3, 4, 5]
    clock.now += 50
    page = await history.since(W1, 0, 10)
    assert (page.offset, list(page.entries)) == (0, [])
    entries = await append(history, [event("w1")] * 2)
    # The journal drops entries of the topic's earlier life.
    await append(history, [event("w2")] * 3)
    assert list((await history.since(W1, 0, 10)).entries) == entries


async def test_memory_keeps_no_index_of_what_the_journal_dropped(clock: Clock) -> None:
    history = MemoryHistory(HistoryLimits(journal_events=10, recent_events=1, recent_ttl_s=1), clock)
    await append(history, [event(f"w{number}", bot_id="b") for number in range(1000)])
    clock.now += 1
    assert offsets(await history.since("bot:b", 0, 100), "bot:b") == list(range(991, 1001))
    assert (await history.since("workflow:w989", 0, 10)).entries == []
    assert len((await history.since("workflow:w990", 0, 10)).entries) == 1


async def test_redis_lets_the_index_expire_with_the_journal(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits(journal_age_s=100, recent_events=2))
    await append(history, [event("w1")] * 5)
    assert offsets(await history.since(W1, 0, 10)) == [1, 2, 3, 4, 5]
    epoch = (await history.position()).epoch
    for key in (keys.journal(epoch), keys.index(epoch, W1)):
        assert 50_000 < await link.call("PTTL", key) <= life_ms(100)
        # As when that is over.
        await link.call("DEL", key)
    assert offsets(await history.since(W1, 0, 10)) == [4, 5]


async def test_redis_reads_on_from_the_journal_when_the_buffer_has_expired(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits())
    await append(history, [event("w1")] * 5)
    await link.call("DEL", keys.recent((await history.position()).epoch, W1))
    assert offsets(await history.since(W1, 2, 10)) == [3, 4, 5]


async def test_redis_bounds_an_index_by_the_journal(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits(journal_events=100))
    epoch = (await history.position()).epoch
    await append(history, [event("w2")] * 90)
    for size in [1, 50, 3, 200, 1, 1, 7] * 5:
        await append(history, [event("w1")] * size)
        assert await link.call("LLEN", keys.index(epoch, W1)) <= await link.call("XLEN", keys.journal(epoch)) + 2 * 200
    # One that shares the journal with busier topics comes to hold its share, and what may come before it is looked at again.
    for _ in range(200):
        await append(history, [event("w1")] * 3 + [event("w2")] * 27)
    assert await link.call("LLEN", keys.index(epoch, W1)) <= 20 + 2 * (32 + 3)


async def test_redis_begins_a_topic_anew_when_its_offset_is_gone(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits())
    await append(history, [event("w1")] * 5)
    await link.call("DEL", keys.offset((await history.position()).epoch, W1))
    page = await history.since(W1, 0, 10)
    assert (page.offset, list(page.entries)) == (0, [])
    entries = await append(history, [event("w1")] * 2)
    assert list((await history.since(W1, 0, 10)).entries) == entries


async def test_redis_evicting_a_part_costs_that_part_alone(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits(recent_events=3))
    entries = await append(history, [event("w1")] * 10)
    epoch = (await history.position()).epoch
    await link.call("DEL", keys.recent(epoch, W1))
    assert list((await history.since(W1, 0, 100)).entries) == entries
    await link.call("DEL", keys.index(epoch, W1))
    assert (await history.since(W1, 0, 100)).offset == 10
    entries += await append(history, [event("w1")] * 2)
    assert list((await history.since(W1, 0, 100)).entries) == entries[-2:]
    await link.call("DEL", keys.journal(epoch))
    assert list((await history.since(W1, 0, 100)).entries) == entries[-2:]
    entries += await append(history, [event("w1")])
    assert list((await history.since(W1, 0, 100)).entries) == entries[-3:]


async def test_redis_keeps_large_offsets_exact(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits(recent_events=1))
    epoch = (await history.position()).epoch
    await link.call("HSET", keys.history, "number", 2**53 - 100)
    await link.call("SET", keys.offset(epoch, W1), 10**15)
    entries = await history.append(Append(1, Position(epoch, 2**53 - 100), "stream", "", [event("w1")] * 20))
    page = await history.since(W1, 10**15 + 3, 2)
    assert (page.offset, list(page.entries)) == (10**15 + 20, entries[3:5])
    assert list((await history.since("all", 2**53 - 97, 2)).entries) == entries[3:5]


async def test_redis_without_memory_and_a_replica_serve_readers(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys
) -> None:
    history = RedisHistory(own_link, keys, HistoryLimits())
    await append(history, [event("w1")] * 200)
    position = await history.position()
    for trouble, mend in [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ]:
        own_redis.command(*trouble)
        assert offsets(await history.since(W1, 5, 3)) == [6, 7, 8]
        assert await history.witness(position) == position
        with pytest.raises(Unavailable):
            await history.witness(Position(position.epoch, 201))
        own_redis.command(*mend)
    assert await history.position() == position


# -- somebody has seen more --------------------------------------------------------------------------------------------


async def test_a_witness_of_what_is_there_changes_nothing(history: History) -> None:
    await write(history, event("w1"), event("w1"))
    here = await history.position()
    for number in (0, 1, 2):
        assert await history.witness(Position(here.epoch, number)) == here
    assert await history.witness(Position("0123456789abcdef", 1000)) == here
    assert await history.witness(Position("", 0)) == here
    assert await history.position() == here


async def test_a_witness_of_more_begins_an_epoch_once(history: History) -> None:
    await write(history, event("w1"), event("w1"), cursor="1-0")
    before = await history.position()
    after = await history.witness(Position(before.epoch, 3))
    assert after.epoch not in ("", before.epoch)
    assert after.number == 0
    assert await history.witness(Position(before.epoch, 3)) == after
    assert await history.position() == after
    assert await history.cursor("stream") == "1-0"
    assert list((await history.read(0, 10)).entries) == []
    with pytest.raises(Moved) as raised:
        await history.append(Append(1, before, "stream", "", [event("w1")]))
    assert raised.value.position == after
    [entry] = await append(history, [event("w1")])
    assert entry.offsets == (1, 1)


async def test_a_witness_gives_an_empty_history_its_epoch(history: History) -> None:
    position = await history.witness(Position("0123456789abcdef", 7))
    assert position.epoch not in ("", "0123456789abcdef")
    assert position == await history.position()


async def test_many_witnesses_at_once_begin_one_epoch(history: History) -> None:
    await write(history, event("w1"))
    before = await history.position()
    found = await asyncio.gather(*(history.witness(Position(before.epoch, number)) for number in range(2, 22)))
    assert set(found) == {await history.position()}
    assert found[0].epoch != before.epoch


async def test_a_hub_that_saw_more_than_a_restored_file_has_begins_an_epoch(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys
) -> None:
    history = RedisHistory(own_link, keys, HistoryLimits())
    await write(history, event("w1"), event("w1"))
    saved = await history.position()
    own_redis.command("SAVE")
    await write(history, event("w1"))
    seen = await history.position()
    own_redis.kill()
    with pytest.raises(Unavailable):
        await history.witness(seen)
    own_redis.start()
    assert await history.witness(saved) == saved
    after = await history.witness(seen)
    assert (after.epoch != seen.epoch, after.number) == (True, 0)
    assert (await history.since(W1, 0, 10)).epoch == after.epoch
