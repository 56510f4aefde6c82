"""What only the memory history can be asked without waiting: the passing of time, and its own bounds."""

import pytest

from events.conf import HistoryLimits
from events.history.memory import MemoryHistory
from tests.contracts.support import Clock, event, write

LIMITS = HistoryLimits(recent_ttl_s=100, offset_ttl_s=1000)


@pytest.fixture
def clock() -> Clock:
    return Clock(5000.0)


async def test_a_topic_without_events_loses_its_buffer_then_its_offset(clock: Clock) -> None:
    history = MemoryHistory(LIMITS, clock)
    await write(history, event("a"), event("a"))
    clock.now += 99
    assert len((await history.recent(["workflow:a"]))[0].entries) == 2
    clock.now += 1
    [recent] = await history.recent(["workflow:a"])
    assert (recent.offset, list(recent.entries)) == (2, [])
    await write(history, event("a"))
    [recent] = await history.recent(["workflow:a"])
    assert (recent.offset, [entry.offsets for entry in recent.entries]) == (3, [(3, 3)])
    clock.now += 1000
    assert (await history.recent(["workflow:a"]))[0].offset == 0
    await write(history, event("a"))
    assert [entry.offsets for entry in (await history.recent(["workflow:a"]))[0].entries] == [(4, 1)]


async def test_an_offset_that_goes_before_the_buffer_takes_it_along(clock: Clock) -> None:
    history = MemoryHistory(HistoryLimits(recent_ttl_s=1000, offset_ttl_s=10), clock)
    await write(history, event("a"), event("a"))
    clock.now += 10
    await write(history, event("a"))
    assert [entry.offsets for entry in (await history.recent(["workflow:a"]))[0].entries] == [(3, 1)]


async def test_topics_without_events_for_longest_give_way(clock: Clock) -> None:
    history = MemoryHistory(LIMITS, clock, max_recent_buffers=2, max_offsets=3)
    for workflow in ("a", "b", "a", "c", "d"):
        await write(history, event(workflow))
    recents = await history.recent([f"workflow:{name}" for name in "abcd"])
    assert [(recent.offset, len(recent.entries)) for recent in recents] == [(2, 0), (0, 0), (1, 1), (1, 1)]


async def test_the_journal_is_capped_exactly(clock: Clock) -> None:
    history = MemoryHistory(HistoryLimits(journal_events=10), clock)
    await write(history, *[event("a") for _ in range(25)])
    assert [entry.number for entry in (await history.read(0, 100)).entries] == list(range(16, 26))
