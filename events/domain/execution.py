"""The state of an execution: what a client that comes late needs in order to be right at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from events.domain.topics import topics_of

RUNNING: Final[str] = "running"
COMPLETED: Final[str] = "completed"
FAILED: Final[str] = "failed"


class Counts(NamedTuple):
    """How many `node_started`, `node_completed` and `node_failed` events there were. A node that is retried counts again."""

    started: int = 0
    completed: int = 0
    failed: int = 0


class LastEvent(NamedTuple):
    """The newest event of an execution, of whatever type."""

    type: str | None = None
    timestamp: str | None = None


class NodeState(NamedTuple):
    """One node of an execution. What no event told is None. A tuple, as most events make one.

    status:            `running`, `completed` or `failed`
    started, finished: the publisher's timestamps
    """

    node_id: str
    name: str | None = None
    category: str | None = None
    status: str = RUNNING
    started: str | None = None
    finished: str | None = None
    duration_ms: float | None = None
    error: str | None = None
    error_type: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution after its `events` events, which have the numbers `first` to `last` in the journal.

    status: `running` until `execution_completed`, then the publisher's word for it: `completed`, `failed` or another
    nodes:  by id, in the order in which they appeared; at most `MAX_NODES`
    error:  the newest failure, be it a node's or the execution's
    """

    execution_id: str
    workflow_id: str
    bot_id: str | None = None
    strategy_id: str | None = None
    status: str = RUNNING
    started: str | None = None
    finished: str | None = None
    duration_ms: float | None = None
    node_count: int | None = None
    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    error: str | None = None
    last_event: LastEvent = field(default_factory=LastEvent)
    events: int = 0
    first: int = 0
    last: int = 0

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that it belongs to, in the order in which an event lists them."""
        return topics_of(self.workflow_id, self.bot_id, self.strategy_id)

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape that clients get; what no event told is null, but `bot_id` and `strategy_id` are left out then.

        {"execution_id", "workflow_id", "bot_id", "strategy_id", "status", "started", "finished", "duration_ms", "node_count",
         "nodes": [{"node_id", "name", "category", "status", "started", "finished", "duration_ms", "error", "error_type"}],
         "counts": {"started", "completed", "failed"}, "error", "last_event": {"type", "timestamp"}, "events", "first", "last"}
        """
        body = dict(zip(EXECUTION_FIELDS, execution_values(self), strict=True))
        for name in ("bot_id", "strategy_id"):
            if body[name] is None:
                del body[name]
        body["nodes"] = [node._asdict() for node in self.nodes.values()]
        body["counts"] = self.counts._asdict()
        body["last_event"] = self.last_event._asdict()
        return body


#: What an execution is made of, in order, and a quick way to all of it at once.
EXECUTION_FIELDS: Final = tuple(each.name for each in fields(Execution))
execution_values: Final = attrgetter(*EXECUTION_FIELDS)


def from_dict(body: Mapping[str, Any]) -> Execution:
    """The state that `to_dict` made the JSON shape of."""
    nodes = {node["node_id"]: NodeState(**node) for node in body["nodes"]}
    return Execution(
        **{**body, "nodes": nodes, "counts": Counts(**body["counts"]), "last_event": LastEvent(**body["last_event"])}
    )


def encode(execution: Execution) -> bytes:
    """A compact JSON text for keeping: as `to_dict`, but nodes, counts and the last event are lists of their values."""
    body = dict(zip(EXECUTION_FIELDS, execution_values(execution), strict=True))
    body["nodes"] = [tuple(node) for node in execution.nodes.values()]
    body["counts"], body["last_event"] = tuple(execution.counts), tuple(execution.last_event)
    return orjson.dumps(body)


def decode(text: bytes) -> Execution:
    """The state that `encode` made the text of."""
    body = orjson.loads(text)
    body["nodes"] = {row[0]: NodeState(*row) for row in body["nodes"]}
    body["counts"], body["last_event"] = Counts(*body["counts"]), LastEvent(*body["last_event"])
    return Execution(**body)
