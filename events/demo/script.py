"""One run of a workflow, from `execution_started` to `execution_completed`, as a list of timed events."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

from events.demo.catalogue import FAILURES, PASSED, Node, Tick, Workflow

#: The share of runs in which a node fails.
FAILING_RUNS: Final = 0.08


@dataclass(frozen=True, slots=True)
class Step:
    """One event, and when it happens. `at_ms` is Unix time in milliseconds, the same moment as the event's `timestamp`."""

    at_ms: int
    fields: dict[str, Any]


def timestamp(at_ms: int) -> str:
    """Unix milliseconds as the wire has them: `2026-01-24T10:00:00.000Z`."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1_000:03d}Z"


def script(workflow: Workflow, tick: Tick, start_ms: int) -> list[Step]:
    """The events of one run that starts at `start_ms`, in the order in which they happen."""
    return sorted(_Run(workflow, tick, start_ms).steps(), key=lambda step: step.at_ms)


class _Run:
    def __init__(self, workflow: Workflow, tick: Tick, start_ms: int) -> None:
        self._workflow = workflow
        self._tick = tick
        self._random: Random = tick.random
        self._start_ms = start_ms
        self._now_ms = start_ms
        self._execution_id = f"exec_{workflow.id}_{self._random.getrandbits(32):08x}"
        self._doomed = self._random.choice(_nodes(workflow)) if self._random.random() < FAILING_RUNS else None
        self._outputs: dict[str, dict[str, Any]] = {}
        self._error = ""

    def steps(self) -> Iterator[Step]:
        yield self._step(self._start_ms, "execution_started", node_count=self._workflow.node_count)
        for stage in self._workflow.stages:
            yield from self._stage(stage)
            if self._error or not self._goes_on(stage):
                break
        self._now_ms += self._random.randint(2, 30)
        yield self._completed()

    def _stage(self, stage: tuple[Node, ...]) -> Iterator[Step]:
        self._now_ms += self._random.randint(5, 120)
        ends = []
        for node in stage:
            began_ms = self._now_ms + self._random.randint(0, 4)
            ended_ms = began_ms + self._random.randint(node.fastest_ms, node.slowest_ms)
            ends.append(ended_ms)
            yield from self._node(node, began_ms, ended_ms)
        self._now_ms = max(ends)

    def _node(self, node: Node, began_ms: int, ended_ms: int) -> Iterator[Step]:
        names = {"node_id": node.id, "node_name": node.name, "node_category": node.category}
        yield self._step(began_ms, "node_started", names)
        end = {"duration_ms": ended_ms - began_ms}
        if node is self._doomed:
            error_type, self._error = self._random.choice(FAILURES[node.category])
            yield self._step(ended_ms, "node_failed", {"node_id": node.id}, **end, error=self._error, error_type=error_type)
            return
        outputs = self._outputs[node.id] = node.outputs(self._tick)
        yield self._step(ended_ms, "node_completed", {"node_id": node.id}, **end, status="success", outputs=outputs)
        if outputs.get(PASSED):
            yield self._signal(ended_ms, outputs)

    def _signal(self, at_ms: int, outputs: dict[str, Any]) -> Step:
        side = self._random.choice(("buy", "sell"))
        signal = {"signal": side, "symbol": self._tick.symbol, "price": self._tick.price, "confidence": outputs["confidence"]}
        return self._step(at_ms, "signal_generated", signal)

    def _goes_on(self, stage: tuple[Node, ...]) -> bool:
        return all(self._outputs[node.id].get(PASSED, True) for node in stage)

    def _completed(self) -> Step:
        actions = [node.id for node in _nodes(self._workflow) if node.category == "actions" and node.id in self._outputs]
        return self._step(
            self._now_ms,
            "execution_completed",
            duration_ms=self._now_ms - self._start_ms,
            status="failed" if self._error else "completed",
            results={name: self._outputs[name] for name in actions},
        )

    def _step(self, at_ms: int, kind: str, names: dict[str, Any] | None = None, /, **details: Any) -> Step:
        fields = {
            "type": kind,
            "execution_id": self._execution_id,
            "workflow_id": self._workflow.id,
            "bot_id": self._workflow.bot_id,
            "strategy_id": self._workflow.strategy_id,
            **(names or {}),
            "timestamp": timestamp(at_ms),
            **details,
        }
        return Step(at_ms, fields)


def _nodes(workflow: Workflow) -> list[Node]:
    return [node for stage in workflow.stages for node in stage]
