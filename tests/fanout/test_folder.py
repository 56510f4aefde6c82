"""The relay's states of executions: each event once, whatever happens to a step."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import orjson
import pytest

from events.bus.memory import MemoryBus, MemoryBusReader
from events.conf import HistoryLimits
from events.domain.entry import Position
from events.domain.event import Event, EventLimits
from events.domain.execution import Execution
from events.domain.snapshot import fold_all
from events.fanout import relay as relay_module
from events.fanout.folder import Folder
from events.fanout.relay import Relay
from events.history.memory import MemoryHistory
from events.lease.memory import MemoryLease
from events.ports import Append, BusEntry, Moved, Unavailable
from tests.contracts.support import Clock, event, eventually
from tests.fanout.support import NOON, TestGroup, TestHistory, until


class CountingHistory(MemoryHistory):
    """Notes which states were read; refuses to serve while `down`."""

    def __init__(self) -> None:
        super().__init__(HistoryLimits())
        self.reads: list[list[str]] = []
        self.down = False

    async def executions(self, ids: Sequence[str]) -> list[Execution | None]:
        if self.down:
            raise Unavailable("the history is down")
        self.reads.append(list(ids))
        return await super().executions(ids)

    async def write(self, events: Sequence[Event], states: Sequence[Execution]) -> None:
        await self.append(Append(1, await self.position(), "stream", "", events, (), states))

    async def state(self, execution_id: str) -> Execution:
        [found] = await super().executions([execution_id])
        assert found is not None
        return found


@pytest.fixture
def history() -> CountingHistory:
    return CountingHistory()


@pytest.fixture
def folder(history: CountingHistory) -> Folder:
    return Folder(history)


def of(execution_id: str, kind: str = "node_started", node: str = "n") -> Event:
    return event(type=kind, execution_id=execution_id, node_id=node)


async def step(history: CountingHistory, folder: Folder, *events: Event) -> list[Execution]:
    states = await folder.fold(events, await history.position())
    await history.write(events, states)
    return states


async def whole(history: CountingHistory, execution_id: str) -> Execution:
    """The state of an execution as the journal tells it."""
    page = await history.read(0, 10_000)
    numbered = [(orjson.loads(entry.document), entry.number) for entry in page.entries]
    return fold_all(None, [(fields, number) for fields, number in numbered if fields["execution_id"] == execution_id])


async def test_states_are_those_of_all_events(history: CountingHistory, folder: Folder) -> None:
    await step(history, folder, of("a"), of("b"), of("a", "node_failed"))
    await step(history, folder, of("b", "node_completed"), of("c"))
    for name in "abc":
        assert await history.state(name) == await whole(history, name)


async def test_only_touched_executions_are_told(history: CountingHistory, folder: Folder) -> None:
    await step(history, folder, of("a"), of("b"))
    assert [state.execution_id for state in await step(history, folder, of("b"), of("c"), of("b"))] == ["b", "c"]
    assert await step(history, folder) == []


async def test_a_state_is_read_once(history: CountingHistory, folder: Folder) -> None:
    for _ in range(5):
        await step(history, folder, of("a"), of("b"))
    assert history.reads == [["a", "b"]]


async def test_what_has_ended_is_kept_at_hand_for_one_step(history: CountingHistory, folder: Folder) -> None:
    await step(history, folder, of("a"), of("a", "execution_completed"))
    [late] = await step(history, folder, of("a", "node_completed"))
    assert (late.status, late.events) == ("completed", 3)
    assert history.reads == [["a"]]
    await step(history, folder, of("b"))
    [later] = await step(history, folder, of("a", "node_completed"))
    assert (later.status, later.events) == ("completed", 4)
    assert history.reads == [["a"], ["b"], ["a"]]


async def test_a_step_is_folded_while_the_one_before_it_is_on_its_way(history: CountingHistory, folder: Folder) -> None:
    """Also when an execution ends in the one and goes on in the other: the history has nothing of it yet."""
    here = await history.position()
    first, second = [of("a"), of("a", "execution_completed")], [of("a", "node_completed"), of("b")]
    states = [await folder.fold(first, here)]
    after = Position(here.epoch, here.number + len(first))
    assert folder.stands_before(after)
    assert not folder.stands_before(here)
    states.append(await folder.fold(second, after))
    await history.write(first, states[0])
    await history.write(second, states[1])
    assert await history.state("a") == await whole(history, "a")
    assert await history.state("b") == await whole(history, "b")


async def test_a_step_that_was_not_taken_is_folded_again_from_the_same_states(history: CountingHistory, folder: Folder) -> None:
    await step(history, folder, of("a"))
    here = await history.position()
    batch = [of("a", "node_failed"), of("b")]
    once = await folder.fold(batch, here)
    assert await folder.fold(batch, here) == once
    assert await folder.fold(batch[:1], here) == once[:1]
    await step(history, folder, *batch)
    assert (await history.state("a")).counts == (1, 0, 1)
    assert await history.state("a") == await whole(history, "a")


async def test_a_step_whose_answer_was_lost_counts(history: CountingHistory, folder: Folder) -> None:
    """The history took it, and the relay goes on from the place behind it."""
    states = await folder.fold([of("a")], await history.position())
    await history.write([of("a")], states)
    await step(history, folder, of("a", "node_completed"))
    assert await history.state("a") == await whole(history, "a")
    assert history.reads == [["a"]]


async def test_from_another_place_nothing_is_trusted(history: CountingHistory, folder: Folder) -> None:
    await step(history, folder, of("a"))
    other = Folder(history)
    await step(history, other, of("a"), of("a"))
    await step(history, folder, of("a", "node_failed"))
    assert await history.state("a") == await whole(history, "a")
    assert (await history.state("a")).counts == (3, 0, 1)


async def test_after_clearing_nothing_is_trusted(history: CountingHistory, folder: Folder) -> None:
    """Somebody else wrote just as many events as the step that was never taken."""
    await step(history, folder, of("a"))
    await folder.fold([of("a", "node_failed")], await history.position())
    await step(history, Folder(history), of("a", "node_completed"))
    folder.clear()
    await step(history, folder, of("a"))
    assert (await history.state("a")).counts == (2, 1, 0)
    assert await history.state("a") == await whole(history, "a")


async def test_a_new_epoch_begins_with_nothing(history: CountingHistory, folder: Folder) -> None:
    await step(history, folder, of("a"), of("a"))
    here = await history.position()
    with pytest.raises(Moved):
        await history.append(Append(1, Position(here.epoch, here.number + 1), "stream", ""))
    [state] = await step(history, folder, of("a"))
    assert (state.events, state.first, state.last) == (1, 1, 1)


async def test_a_state_that_cannot_be_read_stops_the_step_and_nothing_else(history: CountingHistory, folder: Folder) -> None:
    await step(history, folder, of("a"))
    history.down = True
    with pytest.raises(Unavailable):
        await folder.fold([of("a"), of("b")], await history.position())
    history.down = False
    await step(history, folder, of("a"), of("b"))
    assert await history.state("a") == await whole(history, "a")
    assert history.reads == [["a"], ["b"]]


async def test_what_is_kept_at_hand_is_bounded(history: CountingHistory) -> None:
    folder = Folder(history, capacity=6)
    for name in "abcd":
        await step(history, folder, of(name))
    history.reads.clear()
    await step(history, folder, of("b"))
    await step(history, folder, *[of("d", node=f"m{number}") for number in range(4)])
    await step(history, folder, of("d"))
    assert history.reads == []
    await step(history, folder, *[of("a", node=f"m{number}") for number in range(20)])
    for name in "abcd":
        await step(history, folder, of(name))
        assert await history.state(name) == await whole(history, name)
    assert ["a"] in history.reads


# -- in the relay ------------------------------------------------------------------------------------------------------


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "RETRY_S", 0.005)
    monkeypatch.setattr(relay_module, "READ_WAIT_S", 0.05)


@asynccontextmanager
async def leading(history: TestHistory, bus: MemoryBus, lease: MemoryLease, owner: str) -> AsyncIterator[None]:
    """A relay that leads until the block ends, as if it were killed then."""
    readers, limits, clock = [bus.reader()], EventLimits(), Clock(NOON)
    relay = Relay(history, TestGroup(), readers, lease, owner, limits, lease_ttl_s=60, heartbeat_s=60, clock=clock)
    task = asyncio.create_task(relay.run())
    await until(lambda: relay.leading)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.usefixtures("brisk")
async def test_states_equal_the_fold_of_the_journal_whatever_fails() -> None:
    history, bus, lease = TestHistory(HistoryLimits()), MemoryBus(10_000), MemoryLease()
    published = 0

    async def publish(*events: Event) -> None:
        nonlocal published
        published += len(events)
        await bus.publish([each.document for each in events])

    async def all_written() -> bool:
        return (await history.kept.position()).number >= published

    for owner in ("first", "second"):
        async with leading(history, bus, lease, owner):
            for trouble in ("none", "lose_answer", "late", "down", "none"):
                if trouble in ("lose_answer", "late"):
                    setattr(history, trouble, 1)
                history.down = trouble == "down"
                asked = len(history.asked)
                await publish(of("a"), of("b", "node_failed"), of(f"{owner}-{trouble}"))
                await publish(of("a", "node_completed"))
                if trouble == "down":
                    await until(lambda before=asked: len(history.asked) > before + 2)  # type: ignore[misc]
                    history.down = False
                await eventually(all_written)
    entries = [(orjson.loads(entry.document), entry.number) for entry in (await history.kept.read(0, 10_000)).entries]
    names = {fields["execution_id"] for fields, _ in entries}
    assert len(names) == 2 + 2 * 5 - 2
    for name in names:
        [found] = await history.kept.executions([name])
        assert found == fold_all(None, [(fields, number) for fields, number in entries if fields["execution_id"] == name])


class KeptReader(MemoryBusReader):
    """An input that forgets nothing, so that the relay may read ahead."""

    name = "stream"
    reads_ahead = True

    def __init__(self) -> None:
        super().__init__(MemoryBus(1))
        self.documents: list[bytes] = []

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        first = int(cursor or 0)
        if first >= len(self.documents):
            await asyncio.sleep(0)
        return [BusEntry(str(place), each) for place, each in enumerate(self.documents[first : first + limit], first + 1)]


@pytest.mark.usefixtures("brisk")
async def test_a_backlog_is_drafted_ahead_and_whatever_fails_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executions end in one step and go on in the next, which is drafted while the history writes the one."""
    monkeypatch.setattr(relay_module, "AHEAD", 2)
    monkeypatch.setattr(relay_module, "BATCH", 5)
    history, reader = TestHistory(HistoryLimits()), KeptReader()
    history.slow = True
    kinds = ("node_started", "node_completed", "execution_completed")
    relay = Relay(history, TestGroup(), [reader], MemoryLease(), "r", EventLimits(), lease_ttl_s=60, heartbeat_s=60)

    async def all_written() -> bool:
        return (await history.kept.position()).number >= len(reader.documents)

    task = asyncio.create_task(relay.run())
    await until(lambda: relay.leading)
    for trouble in ("none", "lose_answer", "late", "lose_answer", "down", "none"):
        if trouble in ("lose_answer", "late"):
            setattr(history, trouble, 1)
        asked, foreseen = len(history.asked), history.foreseen
        reader.documents += [of(f"e{number % 4}", kinds[number % 3], f"n{number}").document for number in range(42)]
        if trouble == "down":
            history.down = True
            await until(lambda before=asked: len(history.asked) > before + 2)  # type: ignore[misc]
            history.down = False
        await eventually(all_written)
        assert history.foreseen > foreseen
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    entries = [(orjson.loads(entry.document), entry.number) for entry in (await history.kept.read(0, 10_000)).entries]
    assert [fields["node_id"] for fields, _ in entries] == [orjson.loads(each)["node_id"] for each in reader.documents]
    for name in ("e0", "e1", "e2", "e3"):
        [found] = await history.kept.executions([name])
        assert found == fold_all(None, [(fields, number) for fields, number in entries if fields["execution_id"] == name])
