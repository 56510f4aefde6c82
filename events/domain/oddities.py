"""What is odd about an execution: silent for too long, or told in an order that makes no sense."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from events.domain.durations import Typical
from events.domain.execution import RUNNING, Execution, NodeState

#: An execution is silent when nothing came for so many times what its nodes usually take, and for at least so many seconds.
SILENT_TIMES: Final = 5.0
SILENT_S: Final = 10.0

#: … or for so many seconds, where no node of its workflow has ended yet as far as is remembered.
UNKNOWN_S: Final = 300.0

#: The optional field by which a publisher numbers the events of an execution, from 1 or any other number up by one.
SEQUENCE: Final = "sequence"

#: Ranges of missing numbers that are named; the rest is counted.
RANGES_NAMED: Final = 5

#: Nodes with the same flag that are named; the rest is counted.
NODES_NAMED: Final = 5


def silence(execution: Execution, typical: Typical, now: float) -> str:
    """What to say of a running execution of which nothing was heard for much longer than usual; empty when all is well. `now`
    is Unix time; the last event's time is the publisher's."""
    last = read_time(execution.last_event.timestamp)
    if execution.status != RUNNING or last is None:
        return ""
    silent, usual = now - last, _usual(execution, typical)
    if usual is None:
        return f"Silent for {silent:.0f} s; nobody knows what its nodes usually take." if silent > UNKNOWN_S else ""
    if silent <= max(SILENT_S, SILENT_TIMES * usual):
        return ""
    return f"Silent for {silent:.0f} s; its nodes usually take up to {usual:.1f} s."


def _usual(execution: Execution, typical: Typical) -> float | None:
    """What the slowest of its running nodes usually takes; without one, the slowest node of its workflow."""
    running = [node.node_id for node in execution.nodes.values() if node.status == RUNNING]
    known = [typical[execution.workflow_id, node_id] for node_id in running if (execution.workflow_id, node_id) in typical]
    if not known:
        known = [seconds for (workflow_id, _), seconds in typical.items() if workflow_id == execution.workflow_id]
    return max(known, default=None)


def state_oddities(execution: Execution) -> dict[str, str]:
    """What the state of an execution shows: ends without or before their starts, and events after the end. One text for each
    kind, by its kind."""
    found: dict[str, str] = {}
    if execution.status != RUNNING:
        if execution.started is None:
            found["no_start"] = "It ended, and nothing told that it had started."
        if execution.last_event.type != "execution_completed":
            found["after_end"] = "Events came after its end."
        if any(node.status == RUNNING for node in execution.nodes.values()):
            found["nodes_running"] = "It ended while nodes were running."
    if _ends_early(execution.started, execution.finished):
        found["ends_early"] = "It ended before it had started, by its timestamps."
    return found | _node_oddities(execution.nodes.values())


def _node_oddities(nodes: Collection[NodeState]) -> dict[str, str]:
    unstarted = [node.node_id for node in nodes if node.status != RUNNING and node.started is None]
    early = [node.node_id for node in nodes if _ends_early(node.started, node.finished)]
    found: dict[str, str] = {}
    if unstarted:
        found["node_no_start"] = _of_nodes(unstarted, "ended, and nothing told that {} had started.")
    if early:
        found["node_ends_early"] = _of_nodes(early, "ended before {} had started, by {} timestamps.")
    return found


def _of_nodes(ids: Sequence[str], text: str) -> str:
    """What some nodes did; each `{}` of the text stands for them."""
    named = ", ".join(ids[:NODES_NAMED])
    if len(ids) == 1:
        return f"Node {named} {text.format('it', 'its')}"
    more = f" and {len(ids) - NODES_NAMED} more" if len(ids) > NODES_NAMED else ""
    return f"Nodes {named}{more} {text.format('they', 'their')}"


def sequence_oddities(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the publisher's own numbers show of events that follow each other: missing, repeated, or out of order."""
    numbers = [number for event in events if isinstance(number := event.get(SEQUENCE), int) and not isinstance(number, bool)]
    if not numbers:
        return []
    distinct = sorted(set(numbers))
    gaps = [(low + 1, high - 1) for low, high in itertools.pairwise(distinct) if high > low + 1]
    found = []
    if gaps:
        named = ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in gaps[:RANGES_NAMED])
        more = f" and {len(gaps) - RANGES_NAMED} more ranges" if len(gaps) > RANGES_NAMED else ""
        found.append(f"Numbers are missing at the source: {named}{more}.")
    if len(distinct) < len(numbers):
        found.append("Numbers were used more than once at the source.")
    if any(high < low for low, high in itertools.pairwise(numbers)):
        found.append("Events came in another order than the source numbered them.")
    return found


def read_time(text: str | None) -> float | None:
    """A publisher's timestamp as Unix time; None when there is none or it cannot be read. Without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _ends_early(started: str | None, finished: str | None) -> bool:
    start, end = read_time(started), read_time(finished)
    return start is not None and end is not None and end < start
