"""The relay: nothing of a durable input is lost or doubled, whoever fails when; and one relay leads at a time."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest
from structlog.testing import capture_logs

from events.bus.memory import MemoryBus
from events.conf import HistoryLimits
from events.domain.entry import Entry, Position
from events.domain.event import EventLimits
from events.fanout import relay as relay_module
from events.fanout.relay import LostLease, Relay
from events.lease.memory import MemoryLease
from events.ports import Append, Batch, BusEntry, BusGap, BusReader, Canary, EventBus, FencedOut, Queue, Unavailable
from tests.contracts.support import Clock, eventually
from tests.fanout.support import NOON, TestGroup, TestHistory, stage, turns, until


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "RETRY_S", 0.005)
    monkeypatch.setattr(relay_module, "READ_WAIT_S", 0.05)


class ListReader:
    """An input that hands out what it is given, and keeps nothing; `outages` reads fail first."""

    name = "pubsub"
    durable = False
    reads_ahead = False

    def __init__(self, *rounds: list[bytes], outages: int = 0, at: float = 0.0) -> None:
        self.rounds = list(rounds)
        self.at = at
        self.outages = outages
        self.missing: list[BusGap] = []

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        if self.outages:
            self.outages -= 1
            raise Unavailable("the bus is down")
        if not self.rounds:
            await asyncio.sleep(wait_s)
            return []
        return [BusEntry("", document, self.at) for document in self.rounds.pop(0)]

    def gaps(self) -> list[BusGap]:
        gaps, self.missing = self.missing, []
        return gaps

    def queue(self) -> None:
        """Keeps nothing."""

    async def close(self) -> None:
        """Nothing to close."""


class Bench:
    """What a relay works on; several relays can share it."""

    def __init__(self) -> None:
        self.bus = MemoryBus(10_000)
        self.history = TestHistory(HistoryLimits())
        self.group = TestGroup()
        self.lease_clock = Clock(0.0)
        self.lease = MemoryLease(self.lease_clock)

    def relay(
        self,
        owner: str = "r1",
        *readers: BusReader,
        heartbeat_s: float = 60.0,
        lease_ttl_s: float = 0.06,
        interval_s: float = 0.0,
        bus: EventBus | None = None,
    ) -> Relay:
        return Relay(
            self.history,
            self.group,
            readers or [self.bus.reader()],
            self.lease,
            owner,
            EventLimits(),
            lease_ttl_s=lease_ttl_s,
            heartbeat_s=heartbeat_s,
            interval_s=interval_s,
            bus=bus,
            clock=Clock(NOON),
        )

    async def written(self) -> list[Entry]:
        return list((await self.history.kept.read(0, 10_000)).entries)

    async def numbers(self) -> list[int]:
        """The publisher's own numbers of what is in the journal."""
        return [orjson.loads(entry.document)["n"] for entry in await self.written()]

    @property
    def batches(self) -> list[Batch]:
        return [message for message in self.group.waiting if isinstance(message, Batch)]

    @property
    def beats(self) -> list[Position]:
        return [message for message in self.group.waiting if isinstance(message, Position)]

    async def all_written(self, count: int) -> None:
        async def done() -> bool:
            return len(await self.written()) >= count

        await eventually(done)


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def document(number: int, **fields: object) -> bytes:
    common = {"type": "signal", "execution_id": "x", "workflow_id": "w1", "timestamp": "2026-01-24T10:00:00Z", "n": number}
    return orjson.dumps({**common, **fields})


def documents(first: int, last: int) -> list[bytes]:
    return [document(number) for number in range(first, last + 1)]


# -- the way of a document -----------------------------------------------------------------------------------------------


async def test_what_is_published_reaches_the_journal_and_the_group_in_order() -> None:
    bench = Bench()
    relay = bench.relay()
    async with running(relay):
        await bench.bus.publish(documents(1, 3))
        await bench.all_written(3)
        await bench.bus.publish(documents(4, 5))
        await bench.all_written(5)
        await until(lambda: sum(len(batch.entries) for batch in bench.batches) == 5)
    assert await bench.numbers() == [1, 2, 3, 4, 5]
    assert [entry.number for batch in bench.batches for entry in batch.entries] == [1, 2, 3, 4, 5]
    assert [batch.first for batch in bench.batches] == [1, 4]
    assert (relay.counters.received, relay.counters.rejected) == (5, 0)
    assert await bench.history.kept.cursor("memory") == "5-0"


@pytest.mark.parametrize(("reads_ahead", "left"), [(True, 1), (False, 3)])
async def test_the_next_batch_is_read_while_one_is_written_where_that_costs_nothing(reads_ahead: bool, left: int) -> None:
    """One is being written, one waits, and one is read. An input that forgets what was read past is left alone meanwhile."""
    bench = Bench()
    reader = ListReader()
    reader.reads_ahead = reads_ahead
    relay = bench.relay("r1", reader)
    async with running(relay):
        await until(lambda: relay.leading)
        bench.history.gate.clear()
        reader.rounds += [[document(number)] for number in range(1, 5)]
        await until(lambda: len(reader.rounds) == left)
        await turns(50)
        assert len(reader.rounds) == left
        bench.history.gate.set()
        await until(lambda: relay.counters.received == 4)
    assert await bench.numbers() == [1, 2, 3, 4]


@pytest.mark.parametrize(("first", "gathers"), [(1, False), (relay_module.SEVERAL, True), (relay_module.AHEAD, False)])
async def test_after_several_documents_the_next_are_gathered(
    monkeypatch: pytest.MonkeyPatch, first: int, gathers: bool
) -> None:
    """After one alone, and in a backlog, the next read comes at once."""
    monkeypatch.setattr(relay_module, "GATHER_S", 3_600.0)
    bench = Bench()
    reader = ListReader(documents(1, first))
    async with running(bench.relay("r1", reader)):
        await bench.all_written(first)
        reader.rounds += [[document(first + 1)]]
        if gathers:
            await turns(200)
            assert reader.rounds, "it was not waited with"
        else:
            await bench.all_written(first + 1)


async def test_what_was_gathered_is_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "GATHER_S", 0.3)
    bench = Bench()
    async with running(bench.relay()):
        await bench.bus.publish(documents(1, 2))
        await bench.all_written(2)
        for number in (3, 4, 5):
            await bench.bus.publish([document(number)])
            await turns(20)
        await bench.all_written(5)
        await until(lambda: sum(len(batch.entries) for batch in bench.batches) == 5)
    assert await bench.numbers() == [1, 2, 3, 4, 5]
    assert len(bench.batches) <= 3, "not one for each"


@pytest.mark.parametrize(
    ("first", "waits"),
    [
        (documents(1, 1), True),
        (documents(1, relay_module.AHEAD - 1), True),
        (documents(1, relay_module.AHEAD), False),
        ([document(number, padding="x" * (relay_module.BACKLOG_BYTES // 2)) for number in (1, 2)], False),
        ([b"no event"], False),
    ],
    ids=["lone", "several", "a backlog", "large ones", "no event"],
)
async def test_with_an_interval_the_next_documents_are_waited_for_unless_there_is_a_backlog(
    first: list[bytes], waits: bool
) -> None:
    bench = Bench()
    reader = ListReader(first)
    relay = bench.relay("r1", reader, interval_s=3_600.0)
    async with running(relay):
        await until(lambda: relay.counters.received + relay.counters.rejected == len(first))
        reader.rounds += [[document(1_000)]]
        if waits:
            await turns(200)
            assert reader.rounds, "it was not waited with"
        else:
            await until(lambda: relay.counters.received + relay.counters.rejected == len(first) + 1)


async def test_with_an_interval_an_event_that_comes_after_a_canary_alone_is_not_waited_with() -> None:
    bench = Bench()
    relay = bench.relay("r1", interval_s=3_600.0, bus=bench.bus)
    async with running(relay):
        await until(lambda: bench.group.canaries)
        await bench.bus.publish(documents(1, 1))
        await bench.all_written(1)


async def test_with_an_interval_documents_that_wait_in_this_process_are_read_before_they_are_too_many() -> None:
    bench = Bench()
    async with running(bench.relay(interval_s=3_600.0)):
        await bench.bus.publish(documents(1, 1))
        await bench.all_written(1)
        await bench.bus.publish(documents(2, relay_module.AHEAD))
        await turns(200)
        assert len(await bench.written()) == 1
        await bench.bus.publish(documents(relay_module.AHEAD + 1, relay_module.AHEAD + 1))
        await bench.all_written(relay_module.AHEAD + 1)
    assert [len(batch.entries) for batch in bench.batches] == [1, relay_module.AHEAD]


async def test_with_an_interval_what_came_meanwhile_is_one_step_and_one_write_to_each_client() -> None:
    """At most one for each interval that went by, however slow the machine is."""
    interval_s = 0.5
    async with stage() as world:
        bench = Bench()
        bench.history, bench.group = world.history, world.group
        client = await world.client()
        await world.subscribe(client)
        writes, began = client.pipe.writes, time.monotonic()
        async with running(bench.relay(interval_s=interval_s)):
            for number in range(1, 21):
                await bench.bus.publish([document(number)])
                await turns(20)
            await bench.all_written(20)
            await until(lambda: sum(len(batch.entries) for batch in bench.batches) == 20)
        steps = len(bench.batches)
        assert steps - 1 <= (time.monotonic() - began) / interval_s
        world.group.deliver_all(world.hub)
        await until(lambda: len(client.live) == 20)
        assert client.live == list(range(1, 21))
        assert client.pipe.writes - writes == steps


async def test_an_interval_delays_neither_heartbeats_nor_the_end_nor_who_takes_over() -> None:
    bench = Bench()
    first, second = (bench.relay(owner, interval_s=3_600.0, heartbeat_s=0.01) for owner in ("r1", "r2"))
    async with running(first):
        await bench.bus.publish(documents(1, 1))
        await bench.all_written(1)
        await bench.bus.publish(documents(2, 2))
        bench.group.lose_all()
        await until(lambda: len(bench.beats) > 2)
        assert await bench.numbers() == [1]
    async with running(second):
        await bench.all_written(2)
    assert await bench.numbers() == [1, 2]


async def test_how_late_events_are_is_counted_by_stage_and_they_by_type() -> None:
    bench = Bench()
    relay = bench.relay("r1", ListReader([document(1), document(2, type="node_started"), document(3)], at=NOON - 0.03))
    async with running(relay):
        await until(lambda: relay.counters.received == 3)
    counted = relay.counters.as_dict()
    assert (counted["latency_bus:0.05"], counted["latency_bus:sum_us"]) == (3, 90_000)
    assert (counted["events:other"], counted["events:node_started"]) == (2, 1)
    [batch] = bench.batches
    assert (batch.published, batch.relayed) == (NOON - 0.03, NOON)


async def test_the_lag_is_the_age_of_what_waits_for_the_history() -> None:
    bench = Bench()
    relay = bench.relay("r1", ListReader([document(1)], at=NOON - 7))
    bench.history.keep_back("append")
    async with running(relay):
        await until(lambda: relay.lag_s == 7)
        bench.history.let_go("append")
        await until(lambda: relay.lag_s == 0)


async def test_several_inputs_make_one_order() -> None:
    bench = Bench()
    bench.history.slow = True
    reader = ListReader(*[[document(1_000 + number)] for number in range(50)])
    relay = bench.relay("r1", bench.bus.reader(), reader)
    async with running(relay):
        for number in range(50):
            await bench.bus.publish([document(number)])
            await asyncio.sleep(0)
        await bench.all_written(100)
        await until(lambda: sum(len(batch.entries) for batch in bench.batches) == 100)
    numbers = await bench.numbers()
    assert [number for number in numbers if number < 1_000] == list(range(50))
    assert [number for number in numbers if number >= 1_000] == list(range(1_000, 1_050))
    assert [entry.number for batch in bench.batches for entry in batch.entries] == list(range(1, 101))
    assert [batch.first for batch in bench.batches] == [batch.entries[0].number for batch in bench.batches]


async def test_a_large_backlog_is_carried_over_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "BATCH", 10)
    bench = Bench()
    await bench.bus.publish(documents(1, 35))
    await bench.relay().run_burst()
    assert [len(batch.entries) for batch in bench.batches] == [10, 10, 10, 5]
    assert await bench.numbers() == list(range(1, 36))


async def test_what_is_no_event_becomes_a_dead_letter_and_the_rest_flows() -> None:
    bench = Bench()
    relay = bench.relay()
    most = EventLimits().max_bytes
    long = b'{"type": ' + b"x" * 2 * most
    await bench.bus.publish([document(1), b"not json", document(2, workflow_id=""), long, document(3)])
    await relay.run_burst()
    assert await bench.numbers() == [1, 3]
    letters = await bench.history.rejected(10)
    assert [(letter.source, letter.field, letter.at) for letter in letters] == [
        ("memory", "event", NOON),
        ("memory", "workflow_id", NOON),
        ("memory", "event", NOON),
    ]
    assert letters[1].reason == "workflow_id must not be empty."
    assert [letter.document for letter in letters[::2]] == [long[:most], b"not json"]
    assert [(letter.size, letter.whole) for letter in letters[::2]] == [(len(long), False), (8, True)]
    assert (relay.counters.received, relay.counters.rejected) == (2, 3)


async def test_a_batch_of_dead_letters_alone_moves_the_cursor_and_sends_nothing() -> None:
    bench = Bench()
    await bench.bus.publish([b"no", b"no"])
    await bench.relay().run_burst()
    assert await bench.history.cursor("memory") == "2-0"
    assert bench.batches == []


async def test_a_burst_ends_when_every_input_is_read_and_gives_the_lease_back() -> None:
    bench = Bench()
    await bench.bus.publish(documents(1, 700))
    relay = bench.relay("r1", bench.bus.reader(), ListReader([document(1_000)]))
    await relay.run_burst()
    assert len(await bench.written()) == 701
    assert await bench.lease.holder() is None
    assert not relay.leading


async def test_heartbeats_say_where_the_history_is() -> None:
    bench = Bench()
    async with running(bench.relay(heartbeat_s=0.01)):
        await until(lambda: bench.beats)
        await bench.bus.publish(documents(1, 3))
        await until(lambda: bench.beats[-1].number == 3)
    assert bench.beats[0].number == 0
    assert bench.beats[-1] == await bench.history.position()


async def test_a_heartbeat_waits_for_the_step_that_is_being_taken() -> None:
    """Hubs may have heard of it already, and would read the journal."""
    bench = Bench()
    relay = bench.relay()
    await relay._turn.acquire()
    async with running(relay):
        await until(lambda: relay.leading)
        await turns(50)
        assert bench.beats == []
        relay._turn.release()
        await until(lambda: bench.beats)


async def test_a_history_that_does_not_answer_keeps_no_heartbeat_back() -> None:
    bench = Bench()
    bench.history.keep_back("append")
    async with running(bench.relay(heartbeat_s=0.01)):
        await until(lambda: bench.beats)
        await bench.bus.publish(documents(1, 3))
        await until(lambda: "append" in bench.history.asked)
        bench.group.lose_all()
        await until(lambda: len(bench.beats) > 2)
        assert bench.beats[-1].number == 0
        bench.history.let_go("append")


async def test_a_group_that_takes_no_heartbeat_keeps_no_event_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "HEARTBEAT_SEND_S", 0.01)
    bench, hanging = Bench(), asyncio.Event()
    send = bench.group.heartbeat

    async def hang_once(position: Position) -> None:
        monkeypatch.setattr(bench.group, "heartbeat", send)
        hanging.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(bench.group, "heartbeat", hang_once)
    with capture_logs() as logged:
        async with running(bench.relay(heartbeat_s=0.01)):
            await hanging.wait()
            await bench.bus.publish(documents(1, 3))
            await until(lambda: bench.batches)
            # It is not the last one.
            await until(lambda: bench.beats and bench.beats[-1].number == 3)
    failed = [entry for entry in logged if entry["event"] == "relay_heartbeat_failed"]
    assert [(entry["log_level"], entry["reason"]) for entry in failed] == [
        ("warning", "The group did not take it within 0.01 s."),
    ]  # fmt: skip


class AskedReader(ListReader):
    """Notes at each read what the history was asked before."""

    reads_ahead = True

    def __init__(self, asked: list[str], *rounds: list[bytes]) -> None:
        super().__init__(*rounds)
        self._asked = asked
        self.notes: list[list[str]] = []

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        self.notes.append([name for name in self._asked if name == "append"])
        return await super().read(cursor, limit, wait_s)


@pytest.mark.parametrize(("count", "first_written"), [(1, True), (relay_module.AHEAD, False)])
async def test_in_a_backlog_the_next_read_is_under_way_before_what_was_read_is_checked(count: int, first_written: bool) -> None:
    """A lone event does not wait for it."""
    bench = Bench()
    reader = AskedReader(bench.history.asked, documents(1, count))
    async with running(bench.relay("r1", reader)):
        await until(lambda: len(reader.notes) > 1)
        await bench.all_written(count)
    assert reader.notes[:2] == [[], ["append"] if first_written else []]


async def test_what_an_input_missed_is_announced_and_counted() -> None:
    bench = Bench()
    reader = ListReader([document(1)])
    reader.missing = [BusGap("pubsub", "deaf"), BusGap("pubsub", "dropped", count=7)]
    relay = bench.relay("r1", reader)
    await relay.run_burst()
    assert [gap.reason for gap in bench.group.announced] == ["deaf", "dropped"]
    assert (relay.counters.gaps, relay.counters.missed) == (2, 7)


async def test_the_journal_is_trimmed_by_age() -> None:
    bench = Bench()
    async with running(bench.relay()):
        await until(lambda: "trim" in bench.history.asked)


# -- outages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outages", [1, 3])
async def test_an_append_whose_answer_is_lost_happens_once(outages: int) -> None:
    bench = Bench()
    relay = bench.relay()
    bench.history.lose_answer = outages
    await bench.bus.publish(documents(1, 3))
    async with running(relay):
        await bench.all_written(3)
        await bench.bus.publish(documents(4, 6))
        await bench.all_written(6)
        await bench.bus.publish(documents(7, 9))
        await bench.all_written(9)
    assert await bench.numbers() == list(range(1, 10))


async def test_an_append_that_is_carried_out_late_happens_once() -> None:
    bench = Bench()
    bench.history.late = 1
    await bench.bus.publish(documents(1, 3))
    async with running(bench.relay()):
        await bench.all_written(3)
        await bench.bus.publish(documents(4, 5))
        await bench.all_written(5)
    assert await bench.numbers() == [1, 2, 3, 4, 5]


async def test_an_append_of_an_input_without_a_cursor_happens_once_too() -> None:
    bench = Bench()
    bench.history.lose_answer = 1
    bench.history.late = 1
    async with running(bench.relay("r1", ListReader(documents(1, 3), documents(4, 6)))):
        await bench.all_written(6)
    assert await bench.numbers() == [1, 2, 3, 4, 5, 6]


async def test_an_outage_of_the_history_loses_nothing() -> None:
    bench = Bench()
    async with running(bench.relay()):
        await bench.bus.publish(documents(1, 2))
        await bench.all_written(2)
        bench.history.down = True
        await bench.bus.publish(documents(3, 4))
        seen = len(bench.history.asked)
        await until(lambda: len(bench.history.asked) > seen + 3)
        bench.history.down = False
        await bench.all_written(4)
    assert await bench.numbers() == [1, 2, 3, 4]


async def test_an_outage_of_the_bus_only_delays() -> None:
    bench = Bench()
    await bench.relay("r1", ListReader(documents(1, 3), outages=3)).run_burst()
    assert await bench.numbers() == [1, 2, 3]


async def test_what_the_group_did_not_take_reaches_the_clients_from_the_journal() -> None:
    async with stage() as world:
        bench = Bench()
        bench.history, bench.group = world.history, world.group
        client = await world.client()
        await world.subscribe(client)
        bench.group.down = True
        await bench.bus.publish(documents(1, 3))
        async with running(bench.relay(heartbeat_s=0.01)):
            await bench.all_written(3)
            bench.group.down = False
            await until(lambda: bench.group.waiting)
            world.group.deliver_all(world.hub)
            await until(lambda: len(client.live) == 3)
        assert client.live == [1, 2, 3]


async def test_a_relay_that_dies_between_writing_and_sending_loses_nothing() -> None:
    async with stage() as world:
        bench = Bench()
        bench.history, bench.group = world.history, world.group
        client = await world.client()
        await world.subscribe(client)
        await bench.bus.publish(documents(1, 3))
        world.history.hold("append")
        task = asyncio.create_task(bench.relay("r1").run())
        await until(lambda: not world.history.gate.is_set())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.history.gate.set()
        assert bench.batches == []
        await bench.bus.publish(documents(4, 5))
        async with running(bench.relay("r2", heartbeat_s=0.01)):
            await bench.all_written(5)
            await until(lambda: bench.batches)
            world.group.deliver_all(world.hub)
            await until(lambda: len(client.live) == 5)
        assert await bench.numbers() == [1, 2, 3, 4, 5]
        assert client.live == [1, 2, 3, 4, 5]


async def test_a_history_that_was_lost_goes_on_in_a_new_epoch() -> None:
    bench = Bench()
    async with running(bench.relay(heartbeat_s=0.01)):
        await bench.bus.publish(documents(1, 3))
        await bench.all_written(3)
        old = await bench.history.position()
        bench.history.lose_everything()
        await bench.bus.publish(documents(4, 5))
        await bench.all_written(2)
        new = await bench.history.position()
        await until(lambda: bench.beats[-1] == new)
    assert old.epoch != new.epoch
    assert await bench.numbers() == [4, 5]
    assert (bench.batches[-1].epoch, bench.batches[-1].first) == (new.epoch, 1)


# -- leadership ----------------------------------------------------------------------------------------------------------


async def test_one_leads_and_the_other_takes_over_when_it_ends() -> None:
    bench = Bench()
    first, second = bench.relay("r1"), bench.relay("r2")
    async with running(second):
        await until(lambda: second.leading)
        async with running(first):
            await bench.bus.publish(documents(1, 2))
            await bench.all_written(2)
            assert not first.leading
    async with running(first):
        await until(lambda: first.leading)
        await bench.bus.publish(documents(3, 4))
        await bench.all_written(4)
    assert await bench.numbers() == [1, 2, 3, 4]
    assert await bench.lease.holder() is None


async def test_a_relay_whose_lease_ran_out_stops_leading() -> None:
    bench = Bench()
    relay = bench.relay("r1")
    async with running(relay):
        await until(lambda: relay.leading)
        bench.lease_clock.now += 100
        assert await bench.lease.acquire("r2", 100) is not None
        await until(lambda: not relay.leading)
        await bench.bus.publish(documents(1, 1))
        await asyncio.sleep(0.02)
        assert await bench.written() == []
        await bench.lease.release("r2")
        await until(lambda: relay.leading)
        await bench.all_written(1)
    assert await bench.numbers() == [1]


async def test_a_relay_that_was_asleep_cannot_write_after_another_took_over() -> None:
    bench = Bench()
    sleeper = bench.relay("r1", lease_ttl_s=0.6)
    async with running(sleeper):
        await until(lambda: sleeper.leading)
        bench.lease_clock.now += 100
        fence = await bench.lease.acquire("r2", 1_000)
        assert fence is not None
        await bench.history.append(Append(fence, await bench.history.position(), "other", "1"))
        await bench.bus.publish(documents(1, 1))
        await until(lambda: not sleeper.leading)
        assert await bench.written() == []
        assert await bench.lease.holder() == "r2"
        await bench.lease.release("r2")
        await bench.all_written(1)
    assert await bench.numbers() == [1]


async def test_a_burst_that_somebody_else_ends_does_not_pass_for_a_whole_one() -> None:
    bench = Bench()
    await bench.bus.publish(documents(1, 1))
    await bench.history.append(Append(99, await bench.history.position(), "other", "1"))
    with pytest.raises(ExceptionGroup) as caught:
        await bench.relay().run_burst()
    assert caught.value.subgroup((LostLease, FencedOut)) is not None
    assert await bench.lease.holder() is None


async def test_an_outage_of_the_lease_does_not_end_a_leader() -> None:
    bench = Bench()
    failing = FailingLease(bench.lease_clock)
    bench.lease = failing
    failing.down = True
    relay = bench.relay("r1")
    async with running(relay):
        await until(lambda: failing.refused > 1)
        assert not relay.leading
        failing.down = False
        await until(lambda: relay.leading)
        failing.down, failing.refused = True, 0
        await until(lambda: failing.refused > 1)
        assert relay.leading


class FailingLease(MemoryLease):
    """A lease whose store can be away."""

    down = False
    refused = 0

    async def acquire(self, owner: str, ttl_s: float) -> int | None:
        self._check()
        return await super().acquire(owner, ttl_s)

    async def renew(self, owner: str, ttl_s: float) -> bool:
        self._check()
        return await super().renew(owner, ttl_s)

    async def release(self, owner: str) -> None:
        self._check()
        await super().release(owner)

    def _check(self) -> None:
        if self.down:
            self.refused += 1
            raise Unavailable("the lease is away")


# -- canaries ------------------------------------------------------------------------------------------------------------


async def test_a_canary_goes_the_whole_way_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "CANARY_INTERVAL_S", 0.01)
    bench = Bench()
    relay = bench.relay("r1", bus=bench.bus)
    async with running(relay):
        await until(lambda: len(bench.group.canaries) >= 3)
        await bench.bus.publish(documents(1, 1))
        await bench.all_written(1)
    assert bench.group.canaries[0] == Canary(NOON, NOON)
    assert await bench.numbers() == [1]
    assert (relay.counters.received, relay.counters.rejected) == (1, 0)
    assert await bench.history.kept.rejected(10) == []


async def test_there_is_one_canary_on_its_way_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "CANARY_INTERVAL_S", 0.001)
    bench = Bench()
    bench.history.keep_back("append")
    relay = bench.relay("r1", bus=bench.bus)
    async with running(relay):
        await until(lambda: "append" in bench.history.asked)
        await asyncio.sleep(0.02)
        assert [entry.canary for entry in await bench.bus.read("", 100, 0)] == [True]
        assert bench.group.canaries == []
        bench.history.let_go("append")
        await until(lambda: bench.group.canaries)


async def test_a_canary_that_a_relay_before_left_behind_tells_nothing() -> None:
    bench = Bench()
    await bench.bus.publish_canary(trim=False)
    async with running(bench.relay()):
        await bench.bus.publish(documents(1, 1))
        await bench.all_written(1)
    assert bench.group.canaries == []


async def test_a_canary_that_was_thrown_off_the_bus_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "CANARY_INTERVAL_S", 0.01)
    monkeypatch.setattr(relay_module, "READ_WAIT_S", 0.02)
    bench = Bench()
    lossy = LossyBus()
    relay = bench.relay("r1", bench.bus.reader(), bus=lossy)
    async with running(relay):
        await until(lambda: len(lossy.trims) >= 3)
    assert not lossy.trims[0], "before the bus was read to its end"
    assert lossy.trims[-1]


class LossyBus:
    """A bus that loses canaries."""

    def __init__(self) -> None:
        self.trims: list[bool] = []

    async def publish(self, documents: Sequence[bytes]) -> list[str]:
        raise NotImplementedError

    async def publish_canary(self, *, trim: bool) -> None:
        self.trims.append(trim)

    async def fill(self) -> dict[str, Queue]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing to close."""
