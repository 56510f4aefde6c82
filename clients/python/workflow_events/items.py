"""What a subscription yields."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a workflow execution.

    fields:   the whole event as it was published, with `event_id` and `offsets` of the server. `event["outputs"]` and
              `event.get("outputs")` read it.
    replayed: it came from the server's history, not as it happened
    """

    fields: Mapping[str, Any]
    replayed: bool = False

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or `default` for an event without it."""
        return self.fields.get(name, default)

    @property
    def type(self) -> str:
        return str(self.fields["type"])

    @property
    def execution_id(self) -> str:
        return str(self.fields["execution_id"])

    @property
    def workflow_id(self) -> str:
        return str(self.fields["workflow_id"])

    @property
    def bot_id(self) -> str | None:
        return self.fields.get("bot_id") or None

    @property
    def strategy_id(self) -> str | None:
        return self.fields.get("strategy_id") or None

    @property
    def node_id(self) -> str | None:
        return self.fields.get("node_id")

    @property
    def timestamp(self) -> datetime:
        """When it happened, by the publisher's clock."""
        return datetime.fromisoformat(self.fields["timestamp"])

    @property
    def event_id(self) -> str:
        """Unique; the epoch of the server's history, a dash, and the event's number in it."""
        return str(self.fields["event_id"])

    @property
    def epoch(self) -> str:
        """The life of the history that the event's number and offsets belong to."""
        return self.event_id.rpartition("-")[0]

    @property
    def number(self) -> int:
        """Its place among all events of the epoch."""
        return int(self.event_id.rpartition("-")[2])

    @property
    def offsets(self) -> Mapping[str, int]:
        """Its place in each of its topics, by kind: `all`, `workflow`, `bot`, `strategy`."""
        offsets: Mapping[str, int] = self.fields["offsets"]
        return offsets


@dataclass(frozen=True, slots=True)
class Missed:
    """Events that will not come, because nobody has them any more.

    topic:       which subscription; None for events that were lost on the bus, and may have been anybody's
    first, last: the missed offsets of the topic; None when nobody can know
    count:       how many; None when nobody can know
    reason:      a stable word of the server's guide: `history_trimmed`, `history_lost`, `client_too_slow`, `dropped`, …
    details:     the server's whole message
    """

    topic: str | None
    first: int | None
    last: int | None
    count: int | None
    reason: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The states of a topic's executions, all of them true at `offset`: what comes with a larger offset is news.

    executions: as in `GET /api/executions`, the one with the newest event first
    """

    topic: str
    epoch: str
    offset: int
    executions: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to the server stands; subscriptions come next. `sid` is the server's name for it."""

    sid: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A topic is subscribed to; what is replayed comes next.

    resumed:   this client had been there before
    recovered: everything after its place is replayed. Otherwise a `Missed` says what is not.
    """

    topic: str
    resumed: bool
    recovered: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is over, or did not come about. The next attempt is made in `retry_in_s` seconds."""

    reason: str
    retry_in_s: float


Item = Event | Missed | Snapshot | Connected | Subscribed | Disconnected
