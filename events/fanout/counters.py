"""What a process counts of its work since it started."""

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Counters:
    """connections: clients that ever connected · sent: events delivered, replays included · errors: commands refused
    bytes: of the documents of events for whoever wants them: each once per client, lagging ones and replays included
    received: events relayed · rejected: documents that were no events
    gaps: times that an input could not read everything · missed: documents known to have been lost that way
    repairs: times that the journal was read because the group lost something · lagged: times that a client fell behind
    labelled: counts with a label, under `name:label`, for example `errors:unknown_command`; see `count`"""

    connections: int = 0
    sent: int = 0
    bytes: int = 0
    errors: int = 0
    received: int = 0
    rejected: int = 0
    gaps: int = 0
    missed: int = 0
    repairs: int = 0
    lagged: int = 0
    labelled: Counter[str] = field(default_factory=Counter)

    def count(self, name: str, label: str, amount: int = 1) -> None:
        """Count under a label. Labels come from a small fixed set (error codes, limits), never from what a client sent."""
        self.labelled[f"{name}:{label}"] += amount

    def copy(self) -> "Counters":
        copied = Counters(**{name: getattr(self, name) for name in _PLAIN})
        copied.labelled = self.labelled.copy()
        return copied

    def as_dict(self) -> dict[str, int]:
        """All counts by name, the labelled ones under `name:label`."""
        return {name: getattr(self, name) for name in _PLAIN} | self.labelled

    def since(self, earlier: "Counters") -> dict[str, int]:
        """What was counted after `earlier`; without what was not."""
        before = earlier.as_dict()
        return {name: value - before.get(name, 0) for name, value in self.as_dict().items() if value != before.get(name, 0)}


_PLAIN = [each.name for each in fields(Counters) if each.name != "labelled"]
