"""What is odd about executions is logged, each flag once."""

from typing import Any

import orjson
from structlog.testing import capture_logs

from events.conf import HistoryLimits
from events.domain.event import EventLimits, parse_event
from events.domain.oddities import UNKNOWN_S, read_time
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


async def test_only_the_leader_logs() -> None:
    bench = Bench()
    bench.leads = False
    await bench.relay("execution_completed", "odd", status="completed")
    assert await bench.logged() == []
    bench.leads = True
    assert len(await bench.logged()) == 1
