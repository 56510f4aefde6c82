"""What a process counts of its work since it started."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """connections: clients that ever connected · sent: events delivered, replays included · errors: commands refused
    received: events relayed · rejected: documents that were no events
    gaps: times that an input could not read everything · missed: documents known to have been lost that way
    repairs: times that the journal was read because the group lost something · lagged: times that a client fell behind"""

    connections: int = 0
    sent: int = 0
    errors: int = 0
    received: int = 0
    rejected: int = 0
    gaps: int = 0
    missed: int = 0
    repairs: int = 0
    lagged: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)

    def since(self, earlier: "Counters") -> dict[str, int]:
        """What was counted after `earlier`."""
        before = earlier.as_dict()
        return {name: value - before[name] for name, value in self.as_dict().items()}
