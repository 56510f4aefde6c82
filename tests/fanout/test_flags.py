"""What is odd about executions is logged, each flag once."""

import asyncio
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from events.conf import HistoryLimits
from events.domain.event import EventLimits, parse_event
from events.domain.oddities import UNKNOWN_S, read_time
from events.fanout import flags
from events.fanout.flags import FlagWatch
from events.fanout.folder import Folder
from events.history.memory import MemoryHistory
from events.ports import Append
from events.state.memory import MemoryStateStore

AT = "2026-01-24T10:00:00Z"


class Bench:
    """A history, and a watch at a time of one's choice whose relay leads or does not."""

    def __init__(self) -> None:
        self.history = MemoryHistory(HistoryLimits())
        self.leads = True
        self.now = read_time(AT) or 0.0
        self.watch = FlagWatch(self.history, MemoryStateStore(), lambda: self.leads, lambda: self.now)

    async def relay(self, kind: str, execution: str, **fields: Any) -> None:
        body = {"type": kind, "execution_id": execution, "workflow_id": "w1", "timestamp": AT, **fields}
        events = [parse_event(orjson.dumps(body), EventLimits())]
        position = await self.history.position()
        states = await Folder(self.history).fold(events, position)
        await self.history.append(Append(1, position, "stream", "", events, executions=states))

    async def logged(self) -> list[tuple[str, str]]:
        with capture_logs() as entries:
            await self.watch.look()
        assert {(entry["event"], entry["log_level"], entry["workflow_id"]) for entry in entries} <= {
            ("execution_flagged", "warning", "w1")
        }
        return [(entry["execution_id"], entry["reason"]) for entry in entries]


async def test_each_flag_is_logged_once() -> None:
    bench = Bench()
    await bench.relay("execution_started", "good")
    await bench.relay("execution_completed", "odd", status="completed")
    assert await bench.logged() == [("odd", "It ended, and nothing told that it had started.")]
    await bench.relay("node_completed", "odd", node_id="a")
    found = await bench.logged()
    assert ("odd", "Events came after its end.") in found
    assert "It ended, and nothing told that it had started." not in dict(found).values()
    assert await bench.logged() == []


async def test_silence_is_logged_again_only_after_it_was_broken() -> None:
    bench = Bench()
    await bench.relay("execution_started", "slow")
    for expected in (1, 0):
        bench.now += UNKNOWN_S + 1
        assert len(await bench.logged()) == expected
    await bench.relay("node_started", "slow", node_id="a")
    assert len(await bench.logged()) == 1


async def test_flags_of_many_nodes_are_one_entry() -> None:
    bench = Bench()
    for number in range(40):
        await bench.relay("node_completed", "odd", node_id=f"n{number}")
    reason = "Nodes n0, n1, n2, n3, n4 and 35 more ended, and nothing told that they had started."
    assert await bench.logged() == [("odd", reason)]
    await bench.relay("node_completed", "odd", node_id="n40")
    assert await bench.logged() == []


async def test_what_was_logged_is_remembered_of_executions_that_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "LOOKED_AT", 2)
    bench = Bench()
    await bench.relay("node_completed", "odd", node_id="a")
    assert len(await bench.logged()) == 1
    for other in ("b", "c"):
        await bench.relay("node_started", other, node_id="a")
    assert await bench.logged() == []
    await bench.relay("node_started", "odd", node_id="b")
    assert await bench.logged() == []


async def test_so_many_flags_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "REMEMBERED", 3)
    monkeypatch.setattr(flags, "LOOKED_AT", 1)
    bench = Bench()
    for number in range(5):
        await bench.relay("node_completed", f"odd-{number}", node_id="a")
        assert [execution for execution, _ in await bench.logged()] == [f"odd-{number}"]
    assert len(bench.watch._told) == 3
    monkeypatch.setattr(flags, "LOOKED_AT", 3)
    assert await bench.logged() == []


async def test_others_have_their_turns_between_two_executions() -> None:
    bench = Bench()
    for number in range(10):
        await bench.relay("node_completed", f"odd-{number}", node_id="a")
    looking, turns = asyncio.create_task(bench.watch.look()), 0
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 10


async def test_only_the_leader_logs() -> None:
    bench = Bench()
    bench.leads = False
    await bench.relay("execution_completed", "odd", status="completed")
    assert await bench.logged() == []
    bench.leads = True
    assert len(await bench.logged()) == 1
