"""What the executions pages show: a row per execution, and per node a bar on the execution's time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from events.stats import (
    RUNNING,
    Entry,
    Execution,
    NodeState,
    Typical,
    read_time,
    sequence_oddities,
    silence,
    state_oddities,
)

#: Length of the time axis in the units of the drawing, and of the shortest bar.
WIDTH: Final = 1_000.0
SHORTEST: Final = 4.0


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """One execution. `flags` are what is odd about it, in words; `done` the nodes that ended, of `nodes` (None: not told)."""

    execution: Execution
    flags: Sequence[str]
    done: int
    nodes: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One node. `left` and `width` are where it ran on an axis from 0 to `WIDTH`; None when nobody told when."""

    node: NodeState
    left: float | None
    width: float
    seconds: float | None


def rows(executions: Sequence[Execution], newest: Iterable[Entry], typical: Typical, now: float) -> list[ExecutionRow]:
    """In the given order. `newest` are the last events of all, which show whether numbers are missing among them; `typical` is
    what nodes usually take, `now` Unix time."""
    events: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in (orjson.loads(entry.document) for entry in newest):
        events[event["execution_id"]].append(event)
    return [row(each, flags_of(each, events[each.execution_id], typical, now), now) for each in executions]


def row(execution: Execution, flags: Sequence[str], now: float) -> ExecutionRow:
    """One execution with its flags."""
    done = sum(node.status != RUNNING for node in execution.nodes.values())
    return ExecutionRow(execution, flags, done, execution.node_count, _seconds(execution, now))


def flags_of(execution: Execution, events: Sequence[Mapping[str, Any]], typical: Typical, now: float) -> list[str]:
    """Everything that is odd about one execution; `events` are its own, one after the other without a gap of ours, `typical`
    is what nodes usually take."""
    silent = silence(execution, typical, now)
    return [*_said(silent), *state_oddities(execution).values(), *sequence_oddities(events)]


def bars(execution: Execution, now: float) -> list[Bar]:
    """The nodes in the order in which they appeared."""
    times = [time for node in execution.nodes.values() for time in _span(node, execution, now)]
    known = [time for time in (read_time(execution.started), read_time(execution.finished), *times) if time is not None]
    start, end = min(known, default=0.0), max(known, default=0.0)
    return [_bar(node, _span(node, execution, now), start, end - start) for node in execution.nodes.values()]


def _bar(node: NodeState, span: tuple[float | None, float | None], start: float, length: float) -> Bar:
    begin, end = span
    if begin is None or end is None:
        return Bar(node, None, 0.0, None)
    scale = WIDTH / length if length > 0 else 0.0
    width = max(SHORTEST, (max(end, begin) - begin) * scale)
    left = min((begin - start) * scale, WIDTH - width)
    return Bar(node, round(max(0.0, left), 1), round(width, 1), max(0.0, end - begin))


def _span(node: NodeState, execution: Execution, now: float) -> tuple[float | None, float | None]:
    """When a node began and ended; a running one ends now, or with its execution."""
    begin, end = read_time(node.started), read_time(node.finished)
    if begin is None and end is not None:
        begin = end - (node.duration_ms or 0.0) / 1000
    if end is None and begin is not None:
        end = now if execution.status == RUNNING else read_time(execution.finished) or begin
    return begin, end


def _seconds(execution: Execution, now: float) -> float | None:
    if execution.duration_ms is not None:
        return execution.duration_ms / 1000
    begin, end = read_time(execution.started), read_time(execution.finished)
    if begin is None:
        return None
    return max(0.0, (now if execution.status == RUNNING else end or begin) - begin)


def _said(text: str) -> list[str]:
    return [text] if text else []
