"""What only the history on Redis has to stand: expiry, lost and hurt servers, several processes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from events.conf import HistoryLimits
from events.domain.entry import Position
from events.domain.execution import Execution
from events.history import lives, placement, read_queue
from events.history.lives import Renewals, life_ms
from events.history.redis import RedisHistory
from events.lease.redis import RedisLease
from events.ports import Append, FencedOut, History, Moved, Unavailable
from events.redis_link import Keys, RedisLine, RedisLink, RedisScript
from tests.contracts.support import Clock, event, eventually, waits_skipped, write
from tests.redis_server import RedisServer


@pytest_asyncio.fixture
async def history(own_link: RedisLink, keys: Keys) -> History:
    return RedisHistory(own_link, keys, HistoryLimits())


async def test_a_topic_without_events_loses_its_buffer_then_its_offset(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits(recent_ttl_s=100, offset_ttl_s=1000))
    await write(history, event("a"), event("a"))
    epoch = (await history.position()).epoch
    found = []
    for key, seconds in ((keys.recent(epoch, "workflow:a"), 100), (keys.offset(epoch, "workflow:a"), 1000)):
        assert seconds * 500 < await link.call("PTTL", key) <= life_ms(seconds)
        # As when that is over.
        await link.call("DEL", key)
        [recent] = await history.recent(["workflow:a"])
        found.append((recent.offset, list(recent.entries)))
    assert found == [(2, []), (0, [])]
    await write(history, event("a"))
    assert [entry.offsets for entry in (await history.recent(["workflow:a"]))[0].entries] == [(3, 1)]


async def test_an_offset_that_goes_before_the_buffer_takes_it_along(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits())
    await write(history, event("a"), event("a"))
    await link.call("DEL", keys.offset((await history.position()).epoch, "workflow:a"))
    await write(history, event("a"), event("a"))
    assert [entry.offsets for entry in (await history.recent(["workflow:a"]))[0].entries] == [(3, 1), (4, 2)]


async def test_nothing_of_a_history_stays_for_ever_but_the_one_hash(
    link: RedisLink, keys: Keys, shared_redis: RedisServer
) -> None:
    history = RedisHistory(link, keys, HistoryLimits())
    await write(history, event("a", bot_id="b"), cursor="1-0")
    await history.trim(1_000_000)
    names = {name.decode() for name in shared_redis.command("KEYS", f"{keys.prefix}:*")}
    epoch = (await history.position()).epoch
    topics = ["workflow:a", "bot:b"]
    expiring = {keys.journal(epoch), keys.marks(epoch)}
    expiring |= {key(epoch, topic) for topic in topics for key in (keys.recent, keys.offset, keys.index)}
    assert names == {keys.history, keys.fence} | expiring
    assert all(shared_redis.command("PTTL", name) > 0 for name in expiring)


class Lives:
    """The keys of topic `workflow:a`, and of its list of executions, with how long they live."""

    def __init__(self, link: RedisLink, keys: Keys, epoch: str) -> None:
        self._link = link
        topic = "workflow:a"
        self.names = [key(epoch, topic) for key in (keys.offset, keys.recent, keys.index, keys.executions)]

    async def are_set_to(self, milliseconds: int) -> None:
        for name in self.names:
            await self._link.call("PEXPIRE", name, milliseconds)

    async def shortest(self) -> int:
        return min([int(await self._link.call("PTTL", name)) for name in self.names])

    async def longest(self) -> int:
        return max([int(await self._link.call("PTTL", name)) for name in self.names])


async def write_running(history: History) -> None:
    position = await history.position()
    running = Execution("x", "a", last=position.number + 1, events=1)
    await history.append(Append(1, position, "stream", "", [event("a")], executions=[running]))


async def test_keys_live_as_long_as_they_should_without_being_renewed_by_each_step(link: RedisLink, keys: Keys) -> None:
    day, clock = 86_400_000, Clock(0.0)
    history = RedisHistory(link, keys, HistoryLimits())
    history._topics_renewed, history._listings_renewed = Renewals(day / 1000, clock), Renewals(day / 1000, clock)
    await write_running(history)
    life = Lives(link, keys, (await history.position()).epoch)
    # Until they are due, a day is left of what they were given.
    assert day * 9 // 8 - 60_000 < await life.shortest()
    await life.are_set_to(60_000)
    clock.now = day / 1000 / 8 - 1
    await write_running(history)
    assert await life.longest() <= 60_000
    clock.now += 1
    await write_running(history)
    assert await life.shortest() > day


def test_a_clock_that_was_set_back_makes_everything_due() -> None:
    clock = Clock(1_000.0)
    renewals = Renewals(80.0, clock)
    assert [renewals.take("a"), renewals.take("a")] == [True, False]
    clock.now -= 500
    assert renewals.take("a")


def test_what_is_remembered_of_renewals_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "CAPACITY", 2)
    renewals = Renewals(80.0, Clock(0.0))
    assert [renewals.take(name) for name in "abab"] == [True, True, False, False]
    assert [renewals.take(name) for name in "cc"] == [True, False]
    assert renewals.take("a")


async def test_keys_that_were_lost_do_not_come_back_for_ever(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits())
    await write_running(history)
    life = Lives(link, keys, (await history.position()).epoch)
    for name in life.names:
        await link.call("DEL", name)
        await write_running(history)
        assert await life.shortest() > 0


async def test_what_a_step_that_failed_did_is_not_taken_for_renewed(
    own_redis: RedisServer, history: History, keys: Keys
) -> None:
    await write_running(history)
    link = RedisLink(own_redis.url)
    life = Lives(link, keys, (await history.position()).epoch)
    await life.are_set_to(60_000)
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable):
        await write_running(history)
    own_redis.command("CONFIG", "SET", "maxmemory", "0")
    await write_running(history)
    assert await life.shortest() > 60_000
    await link.close()


async def test_a_buffer_is_cut_before_it_is_an_eighth_too_long(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits(recent_events=16))
    lengths = []
    for _ in range(40):
        await write(history, event("a"))
        lengths.append(await link.call("LLEN", keys.recent((await history.position()).epoch, "workflow:a")))
    assert max(lengths) == 18
    assert lengths[-1] >= 16
    [recent] = await history.recent(["workflow:a"])
    assert [entry.offsets[1] for entry in recent.entries] == list(range(25, 41))


async def test_a_flush_begins_an_epoch(own_redis: RedisServer, history: History) -> None:
    await write(history, event("a"), event("a"), cursor="1-0")
    before = await history.position()
    own_redis.command("FLUSHALL")
    page = await history.read(0, 10)
    [recent] = await history.recent(["workflow:a"])
    after = await history.position()
    assert after.epoch not in ("", before.epoch)
    assert (page.epoch, page.number, list(page.entries)) == (after.epoch, 0, [])
    assert (recent.epoch, recent.offset, list(recent.entries)) == (after.epoch, 0, [])
    assert await history.cursor("stream") == ""


async def test_a_writer_learns_of_a_flush(own_redis: RedisServer, history: History) -> None:
    await write(history, event("a"))
    before = await history.position()
    own_redis.command("FLUSHALL")
    with pytest.raises(Moved) as raised:
        await history.append(Append(1, before, "stream", "", [event("a")]))
    assert raised.value.position == await history.position()
    assert raised.value.position.epoch != before.epoch
    [entry] = await history.append(Append(1, raised.value.position, "stream", "", [event("a")]))
    assert entry.offsets == (1, 1)


async def test_readers_follow_a_new_epoch_that_already_has_events(
    own_redis: RedisServer, history: History, own_link: RedisLink, keys: Keys
) -> None:
    other = RedisHistory(own_link, keys, HistoryLimits())
    await write(history, event("a"), event("a"))
    assert (await other.read(0, 10)).number == 2
    own_redis.command("FLUSHALL")
    await write(history, event("a"))
    page = await other.read(0, 10)
    assert (page.epoch, page.number, len(page.entries)) == ((await history.position()).epoch, 1, 1)
    own_redis.command("FLUSHALL")
    await write(history, event("b"))
    assert [recent.offset for recent in await other.recent(["workflow:a", "workflow:b"])] == [0, 1]


async def test_two_processes_see_one_history(link: RedisLink, keys: Keys, shared_redis: RedisServer) -> None:
    other_link = RedisLink(shared_redis.url)
    one, other = RedisHistory(link, keys, HistoryLimits()), RedisHistory(other_link, keys, HistoryLimits())
    await write(one, event("a"), cursor="4-0")
    assert await other.position() == await one.position()
    assert await other.cursor("stream") == "4-0"
    assert await other.read(0, 10) == await one.read(0, 10)
    await write(other, event("a"))
    assert (await one.position()).number == 2
    await other_link.close()


async def test_writers_take_turns_whatever_each_of_them_last_knew_of_the_topics(link: RedisLink, keys: Keys) -> None:
    """Thousands of topics, as a reply may be longer than what Lua hands over at once."""
    writers = [RedisHistory(link, keys, HistoryLimits()) for _ in range(2)]
    events = [event(f"w{number}", bot_id=f"b{number}", strategy_id="s") for number in range(5_000)]
    for turn in range(3):
        [entry, *_] = await writers[turn % 2].append(Append(1, await writers[0].position(), "stream", "", events))
        assert entry.offsets == (5_000 * turn + 1, turn + 1, turn + 1, 5_000 * turn + 1)
    [recent] = await writers[0].recent(["bot:b4999"])
    assert [entry.offsets for entry in recent.entries] == [(5_000 * turn, turn, turn, 5_000 * turn) for turn in (1, 2, 3)]


async def test_what_is_remembered_of_topics_is_bounded(link: RedisLink, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "CAPACITY", 3)
    history = RedisHistory(link, keys, HistoryLimits())
    for turn in range(1, 4):
        await write(history, *(event(f"w{number}") for number in range(5)))
        await write(history, event("w0", bot_id="b"))
        assert len(history._offsets) <= 5
        assert (await history.recent(["workflow:w4"]))[0].offset == turn
        assert (await history.recent(["workflow:w0"]))[0].offset == 2 * turn


class HeldLine:
    """The line on which a history writes. What a step is answered waits while `gate` is clear, and does not come when anything
    is `lost`: the answer, or the step before it got there."""

    def __init__(self, line: RedisLine, lost: str = "") -> None:
        self._line = line
        self.lost = lost
        self.calls = 0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()

    async def run(self, script: RedisScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        self.calls += 1
        reply = None if self.lost == "step" else await self._line.run(script, keys, args)
        self.asked.set()
        await self.gate.wait()
        if self.lost:
            raise Unavailable("no answer")
        return reply


class TwoSteps:
    """A history with an event of `a` and `b`; two steps, of which the second was prepared while the first was written."""

    def __init__(self, history: RedisHistory, position: Position, line: HeldLine) -> None:
        after = Position(position.epoch, position.number + 2)
        self.history, self.line = history, line
        self.first = Append(1, position, "stream", "1-0", [event("a", bot_id="b"), event("new")])
        self.second = Append(1, after, "stream", "2-0", [event("a", bot_id="b"), event("new"), event("newer")])

    async def write_first(self) -> None:
        writing = asyncio.create_task(self.history.append(self.first))
        await self.line.asked.wait()
        self.history.prepare(self.second)
        self.line.gate.set()
        await writing


async def two_steps(link: RedisLink, keys: Keys, monkeypatch: pytest.MonkeyPatch, lost: str = "") -> TwoSteps:
    history = RedisHistory(link, keys, HistoryLimits())
    await write(history, event("a", bot_id="b"))
    line = HeldLine(history._line, lost)
    monkeypatch.setattr(history, "_line", line)
    return TwoSteps(history, await history.position(), line)


async def test_a_step_that_was_prepared_while_another_was_written_takes_one_call(
    link: RedisLink, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = await two_steps(link, keys, monkeypatch)
    await steps.write_first()
    # What is prepared is not made again.
    monkeypatch.setattr(steps.history, "_placed", None)
    entries = await steps.history.append(steps.second)
    assert steps.line.calls == 2
    assert [entry.offsets for entry in entries] == [(4, 3, 3), (5, 2), (6, 1)]
    assert list((await steps.history.read(3, 10)).entries) == entries


@pytest.mark.parametrize(
    ("lost", "number", "offsets"),
    [("answer", 3, [(4, 3, 3), (5, 2), (6, 1)]), ("step", 1, [(2, 2, 2), (3, 1), (4, 1)])],
)
async def test_a_step_that_was_prepared_while_another_was_lost_goes_on_where_the_history_is(
    link: RedisLink, keys: Keys, monkeypatch: pytest.MonkeyPatch, lost: str, number: int, offsets: list[tuple[int, ...]]
) -> None:
    steps = await two_steps(link, keys, monkeypatch, lost)
    with pytest.raises(Unavailable):
        await steps.write_first()
    steps.line.lost = ""
    position = await steps.history.position()
    assert position.number == number
    # Where that is as it was expected, the append is the one that was prepared.
    again = steps.second if steps.second.expected == position else replace(steps.second, expected=position)
    entries = await steps.history.append(again)
    assert steps.line.calls == 2
    assert [entry.offsets for entry in entries] == offsets
    assert list((await steps.history.read(number, 10)).entries) == entries


async def test_taking_the_lease_fences_the_older_writer_out(link: RedisLink, keys: Keys) -> None:
    history, lease = RedisHistory(link, keys, HistoryLimits()), RedisLease(link, keys)
    old = await lease.acquire("old", 60)
    assert old is not None
    await write(history, event(), fence=old)
    await lease.release("old")
    new = await lease.acquire("new", 60)
    assert new is not None
    with pytest.raises(FencedOut):
        await write(history, event(), fence=old)
    await write(history, event(), fence=new)


async def test_numbers_stay_exact_when_they_are_large(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits())
    epoch = (await history.position()).epoch
    await link.call("HSET", keys.history, "number", 2**53 - 10)
    await link.call("SET", keys.offset(epoch, "workflow:a"), 10**15)
    [entry] = await history.append(Append(1, Position(epoch, 2**53 - 10), "stream", "", [event("a")]))
    assert entry.offsets == (2**53 - 9, 10**15 + 1)
    assert list((await history.read(2**53 - 10, 5)).entries) == [entry]
    assert (await history.recent(["workflow:a"]))[0].offset == 10**15 + 1


async def test_marks_survive_the_process_that_made_them(link: RedisLink, keys: Keys) -> None:
    limits = HistoryLimits(journal_age_s=3600)
    history = RedisHistory(link, keys, limits)
    await write(history, event("a"))
    await history.trim(1_000_000)
    assert await RedisHistory(link, keys, limits).trim(1_003_601) == 1


async def test_a_server_without_memory_refuses_the_whole_step(own_redis: RedisServer, history: History) -> None:
    await write(history, event("a"), cursor="1-0")
    before = await history.position()
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable, match=r"Redis at 127\.0\.0\.1:\d+/0 has no memory left"):
        await history.append(Append(1, before, "stream", "2-0", [event("new"), event("a")]))
    assert await history.position() == before
    assert await history.cursor("stream") == "1-0"
    assert len((await history.read(0, 10)).entries) == 1
    assert [recent.offset for recent in await history.recent(["workflow:new", "workflow:a"])] == [0, 1]
    own_redis.command("CONFIG", "SET", "maxmemory", "0")
    await write(history, event("new"))


async def test_a_read_only_replica_refuses_writers_and_serves_readers(own_redis: RedisServer, history: History) -> None:
    await write(history, event("a"))
    position = await history.position()
    own_redis.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(Unavailable, match="read-only replica"):
        await history.append(Append(1, position, "stream", "", [event("a")]))
    assert (await history.read(0, 10)).number == 1
    own_redis.command("REPLICAOF", "NO", "ONE")
    await write(history, event("a"))
    assert (await history.position()).number == 2


async def test_a_storm_of_long_reads_is_no_outage(own_redis: RedisServer, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for longer than a command waits for a connection, which is found by whoever reads little."""
    # For an answer a busy machine may wait for longer than a relay would.
    monkeypatch.setattr("events.redis_link.REPLY_TIMEOUT_S", 20.0)
    link = RedisLink(own_redis.url)
    history = RedisHistory(link, keys, HistoryLimits())
    await write(history, event("a"), event("a"))
    own_redis.command("CLIENT", "PAUSE", 1_500)
    pages = asyncio.gather(*[history.since("workflow:a", 1, 10) for _ in range(100)])
    snapshots = asyncio.gather(*[history.snapshot("workflow:a", 10) for _ in range(100)])
    await asyncio.sleep(0)
    assert (await history.position()).number == 2
    assert {page.offset for page in await pages} == {2}
    assert {snapshot.offset for snapshot in await snapshots} == {2}
    await link.close()


async def test_a_long_read_does_not_wait_for_ever(
    own_redis: RedisServer, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_queue, "WAIT_S", 0.05)
    await write(history, event("a"))
    own_redis.pause()
    reads = [asyncio.create_task(history.since("workflow:a", 0, 10)) for _ in range(20)]
    with waits_skipped():
        refused, served = await asyncio.wait(reads, timeout=0.1)
    own_redis.resume()
    assert len(refused) == 20 - read_queue.AT_ONCE
    assert all("busy with other reads" in str(read.exception()) for read in refused)
    assert {len((await read).entries) for read in served} == {1}
    # Who gave up keeps no place.
    assert len((await history.since("workflow:a", 0, 10)).entries) == 1


@pytest.fixture
def durable_redis() -> RedisServer:
    return RedisServer("--appendonly", "yes", "--appendfsync", "always")


async def test_a_restart_with_a_file_keeps_everything(durable_redis: RedisServer, keys: Keys) -> None:
    with durable_redis:
        link = RedisLink(durable_redis.url)
        history = RedisHistory(link, keys, HistoryLimits())
        await write(history, event("a"), event("b"), cursor="3-0")
        before = (await history.position(), await history.read(0, 10), await history.recent(["workflow:a", "all"]))
        durable_redis.kill()
        with pytest.raises(Unavailable):
            await history.position()
        durable_redis.start()
        assert (await history.position(), await history.read(0, 10), await history.recent(["workflow:a", "all"])) == before
        assert await history.cursor("stream") == "3-0"
        await write(history, event("a"))
        assert [entry.offsets for entry in (await history.recent(["workflow:a"]))[0].entries] == [(1, 1), (3, 2)]
        await link.close()


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("trouble", ["killed", "frozen"])
async def test_trouble_shows_within_seconds(own_redis: RedisServer, history: History, trouble: str, warm: bool) -> None:
    if warm:
        await history.position()
    (own_redis.kill if trouble == "killed" else own_redis.pause)()
    with waits_skipped() as waited:
        answers = await asyncio.gather(
            history.append(Append(1, Position("e", 0), "stream", "", [event("a")])),
            history.cursor("stream"),
            history.position(),
            history.read(0, 10),
            history.recent(["workflow:a"]),
            history.trim(1_000_000),
            history.rejected(10),
            return_exceptions=True,
        )
    assert waited() < 3.5
    assert {type(answer) for answer in answers} == {Unavailable}
    (own_redis.start if trouble == "killed" else own_redis.resume)()
    await eventually(lambda: _works(history))


async def _works(history: History) -> bool:
    try:
        await write(history, event("a"))
    except (Unavailable, Moved):
        return False
    return True
