"""From events to the states of executions: a pure fold."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from events.domain.execution import (
    COMPLETED,
    EXECUTION_FIELDS,
    FAILED,
    RUNNING,
    Counts,
    Execution,
    LastEvent,
    NodeState,
    execution_values,
)

#: Nodes of one execution whose state is kept. Events of further nodes are counted, and nothing else.
MAX_NODES: Final = 500

#: Characters that are kept of a text. A node whose id is longer counts as one without an id.
MAX_TEXT: Final = 1_000

#: Numbers beyond are not exact in every client, and are taken as missing.
MAX_NUMBER: Final = 2**53 - 1

_FINISHED: Final = NodeState._fields.index("finished")


def fold(execution: Execution | None, event: Mapping[str, Any], number: int) -> Execution:
    """The state after one more event, which is entry `number` of the journal. `execution` is None before the first."""
    return fold_all(execution, [(event, number)])


def fold_all(execution: Execution | None, events: Iterable[tuple[Mapping[str, Any], int]]) -> Execution:
    """The state after some more events of one execution, each with its number in the journal, in ascending order.

    An event that the state has seen already (its number is not above `last`) changes nothing. Every event is taken,
    whatever it holds: a field of the wrong type counts as missing, an unknown type is counted. Events may come late:

    - what comes after the terminal event changes nodes, and never the execution's status;
    - a start that comes after its end only fills in when it was, unless its timestamp is later than the end's: then it is a
      new run. A node is `running` again; an execution begins anew, with no nodes.
    """
    draft = None if execution is None else _Draft(execution)
    for event, number in events:
        if draft is None:
            draft = _Draft(_blank(event, number))
        elif number <= draft.last:
            continue
        elif draft.begins_anew(event):
            draft = _Draft(_blank(event, number))
        draft.add(event, number)
    if draft is None:
        raise ValueError("Without a state or an event there is no execution.")
    return execution if execution is not None and draft.last == execution.last else draft.freeze()


def _blank(event: Mapping[str, Any], number: int) -> Execution:
    return Execution(_id(event, "execution_id") or "", _id(event, "workflow_id") or "", first=number)


class _Draft:
    """A state while events are added to it, so that many changes cost one new `Execution`."""

    __slots__ = (*EXECUTION_FIELDS, "_newest", "_tally")

    def __init__(self, execution: Execution) -> None:
        self.execution_id = execution.execution_id
        self.workflow_id = execution.workflow_id
        self.bot_id = execution.bot_id
        self.strategy_id = execution.strategy_id
        self.status = execution.status
        self.started = execution.started
        self.finished = execution.finished
        self.duration_ms = execution.duration_ms
        self.node_count = execution.node_count
        self.nodes = dict(execution.nodes)
        self.counts = execution.counts
        self.error = execution.error
        self.last_event = execution.last_event
        self.events = execution.events
        self.first = execution.first
        self.last = execution.last
        self._newest: tuple[str | None, str | None] = execution.last_event
        self._tally = list(execution.counts)

    def freeze(self) -> Execution:
        self.counts, self.last_event = Counts(*self._tally), LastEvent(*self._newest)
        return Execution(*execution_values(self))

    def begins_anew(self, event: Mapping[str, Any]) -> bool:
        """Whether the event starts a new run under the id of one that has ended."""
        return self.status != RUNNING and event.get("type") == "execution_started" and _is_later(event, self.finished)

    def add(self, event: Mapping[str, Any], number: int) -> None:
        """Take one event."""
        kind, timestamp = _text(event, "type"), _text(event, "timestamp")
        if self.bot_id is None:
            self.bot_id = _id(event, "bot_id")
        if self.strategy_id is None:
            self.strategy_id = _id(event, "strategy_id")
        self._newest = kind, timestamp
        self.events += 1
        self.last = number
        change = _CHANGES.get(kind or "")
        if change is not None:
            change(self, event, timestamp)

    def execution_started(self, event: Mapping[str, Any], timestamp: str | None) -> None:
        self.started = self.started or timestamp
        count = _number(event, "node_count")
        # Clients in JavaScript cannot tell 5.0 from 5.
        if count is not None and count >= 0 and count == int(count):
            self.node_count = int(count)

    def execution_completed(self, event: Mapping[str, Any], timestamp: str | None) -> None:
        word = _text(event, "status")
        # An end that calls itself running would never end.
        self.status = word if word and word != RUNNING else COMPLETED
        self.finished = timestamp
        self.duration_ms = _number(event, "duration_ms")
        self.error = _text(event, "error") or self.error

    def node_started(self, event: Mapping[str, Any], timestamp: str | None) -> None:
        self._tally[0] += 1
        node = self._node(event)
        if node is None:
            return
        if node.status == RUNNING:
            self._put(event, node, RUNNING, node.started or timestamp)
        elif _is_later(event, node.finished):
            self._put(event, node, RUNNING, timestamp)
        else:
            self._put(event, node, node.status, node.started or timestamp, *node[_FINISHED:])

    def node_completed(self, event: Mapping[str, Any], timestamp: str | None) -> None:
        self._tally[1] += 1
        node = self._node(event)
        if node is not None:
            self._put(event, node, COMPLETED, node.started, timestamp, _number(event, "duration_ms"))

    def node_failed(self, event: Mapping[str, Any], timestamp: str | None) -> None:
        self._tally[2] += 1
        error = _text(event, "error")
        self.error = error or self.error
        node = self._node(event)
        if node is not None:
            error_type = _text(event, "error_type")
            self._put(event, node, FAILED, node.started, timestamp, _number(event, "duration_ms"), error, error_type)

    def _node(self, event: Mapping[str, Any]) -> NodeState | None:
        """The node of an event as it is so far; None when its state is not kept."""
        node_id = _id(event, "node_id")
        if node_id is None or len(node_id) > MAX_TEXT:
            return None
        found = self.nodes.get(node_id)
        return NodeState(node_id) if found is None and len(self.nodes) < MAX_NODES else found

    def _put(self, event: Mapping[str, Any], node: NodeState, *state: Any) -> None:
        """Replace a node. `state` are its fields from `status` on; its names are those that were told last."""
        name, category = _text(event, "node_name") or node.name, _text(event, "node_category") or node.category
        self.nodes[node.node_id] = NodeState(node.node_id, name, category, *state)


_CHANGES: Final[dict[str, Callable[[_Draft, Mapping[str, Any], str | None], None]]] = {
    "execution_started": _Draft.execution_started,
    "node_started": _Draft.node_started,
    "node_completed": _Draft.node_completed,
    "node_failed": _Draft.node_failed,
    "execution_completed": _Draft.execution_completed,
}


def _id(event: Mapping[str, Any], name: str) -> str | None:
    value = event.get(name)
    return value if isinstance(value, str) and value else None


def _text(event: Mapping[str, Any], name: str) -> str | None:
    value = event.get(name)
    return value[:MAX_TEXT] if isinstance(value, str) and value else None


def _number(event: Mapping[str, Any], name: str) -> int | float | None:
    value = event.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -MAX_NUMBER <= value <= MAX_NUMBER else None


def _is_later(event: Mapping[str, Any], than: str | None) -> bool:
    """Whether an event's timestamp is after another one. False when either cannot be read."""
    here, there = _time(event.get("timestamp")), _time(than)
    return here is not None and there is not None and here > there


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
