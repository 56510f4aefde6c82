"""Recent buffers for many topics at once: few reads, everybody gets their own, and nobody depends on who reads."""

import asyncio
from collections.abc import Sequence
from itertools import chain

import pytest

from events.conf import HistoryLimits
from events.fanout import recent_reader
from events.fanout.recent_reader import MOST, RecentReader
from events.ports import Append, Recent, Unavailable
from tests.contracts.support import event
from tests.fanout.support import TestHistory, turns


class CountingHistory(TestHistory):
    """Notes which topics were read together."""

    def __init__(self) -> None:
        super().__init__(HistoryLimits())
        self.reads: list[list[str]] = []

    async def recent(self, topics: Sequence[str]) -> list[Recent]:
        self.reads.append(list(topics))
        return await super().recent(topics)


async def filled(workflows: int, size: int = 1) -> CountingHistory:
    history = CountingHistory()
    history.slow = True
    events = [event(f"w{number}", pad="x" * size) for number in range(workflows)]
    await history.append(Append(1, await history.position(), "test", "", events))
    return history


async def test_topics_that_are_asked_for_during_a_read_share_the_next() -> None:
    history = await filled(50)
    reader = RecentReader(history)
    names = [f"workflow:w{number}" for number in range(50)]
    found = await asyncio.gather(*map(reader.read, names))
    assert [recent.entries[0].topics[1] for recent in found] == names
    assert list(chain(*history.reads)) == names
    assert [len(read) for read in history.reads] == [1, 16, 16, 16, 1]


async def test_whoever_reads_may_go_away() -> None:
    history = await filled(3)
    history.keep_back("recent")
    reader = RecentReader(history)
    first, second, third = (asyncio.create_task(reader.read(f"workflow:w{number}")) for number in range(3))
    await turns()
    assert len(history.reads) == 1
    first.cancel()
    third.cancel()
    await turns()
    history.let_go("recent")
    assert (await second).entries[0].topics[1] == "workflow:w1"
    assert history.reads[1:] == [["workflow:w1"]]


async def test_an_outage_is_told_to_all_who_asked_and_the_next_read_is_fresh() -> None:
    history = await filled(4)
    history.keep_back("recent")
    reader = RecentReader(history)
    answers = asyncio.gather(*(reader.read(f"workflow:w{number}") for number in range(4)), return_exceptions=True)
    await turns()
    history.down = True
    history.let_go("recent")
    assert [type(answer) for answer in await answers] == [Recent, Unavailable, Unavailable, Unavailable]
    assert [len(read) for read in history.reads] == [1, 3]
    history.down = False
    assert (await reader.read("workflow:w3")).offset == 1


async def test_fewer_are_read_at_once_while_they_are_big(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_reader, "PAGE_BYTES", 5_000)
    history = await filled(100, size=1_000)
    reader = RecentReader(history)
    await asyncio.gather(*(reader.read(f"workflow:w{number}") for number in range(100)))
    assert [len(read) for read in history.reads][:7] == [1, MOST, 8, 4, 8, 4, 8]
