"""The leading relay remembers what nodes usually take."""

from typing import Any

import orjson

from events.conf import HistoryLimits
from events.domain.event import EventLimits, parse_event
from events.fanout.durations import DurationKeeper
from events.fanout.folder import Folder
from events.history.memory import MemoryHistory
from events.ports import Append
from events.state.memory import MemoryStateStore


class Bench:
    """A history, a store, and a keeper whose relay leads or does not."""

    def __init__(self) -> None:
        self.history = MemoryHistory(HistoryLimits())
        self.store = MemoryStateStore()
        self.leads = True
        self.keeper = DurationKeeper(self.history, self.store, lambda: self.leads)

    async def relay(self, *bodies: dict[str, Any]) -> None:
        common = {"workflow_id": "w1", "timestamp": "2026-01-24T10:00:00Z"}
        events = [parse_event(orjson.dumps({**common, **body}), EventLimits()) for body in bodies]
        position = await self.history.position()
        states = await Folder(self.history).fold(events, position)
        await self.history.append(Append(1, position, "stream", "", events, executions=states))

    async def kept(self) -> dict[str, dict[str, list[float]]]:
        return await self.store.durations(["w1"])


def node(execution: str, duration_ms: float) -> dict[str, Any]:
    return {"type": "node_completed", "execution_id": execution, "node_id": "a", "duration_ms": duration_ms}


def end(execution: str) -> dict[str, Any]:
    return {"type": "execution_completed", "execution_id": execution, "status": "completed"}


async def test_each_execution_that_ended_counts_once() -> None:
    bench = Bench()
    await bench.relay(node("before", 9_000), end("before"))
    await bench.keeper.look()
    assert await bench.kept() == {}
    await bench.relay(node("x", 1_000), end("x"), node("y", 3_000))
    await bench.keeper.look()
    await bench.keeper.look()
    assert await bench.kept() == {"w1": {"a": [1.0]}}
    await bench.relay(end("y"))
    await bench.keeper.look()
    assert await bench.kept() == {"w1": {"a": [1.0, 3.0]}}


async def test_only_the_leader_keeps_anything() -> None:
    bench = Bench()
    await bench.keeper.look()
    bench.leads = False
    await bench.relay(node("x", 1_000), end("x"))
    await bench.keeper.look()
    bench.leads = True
    await bench.keeper.look()
    assert await bench.kept() == {}
