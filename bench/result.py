"""What one run found."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

#: Every metric by its name, with its unit and meaning; a run has those that its measure gives.
METRICS: Final = {
    "server_us": "µs of server CPU per delivered event",
    "relay_us": "µs of CPU per delivered event in the process that moves events to the server",
    "load_us": "µs of CPU per delivered event in the load client",
    "server_cores": "cores that the server kept busy while events were published",
    "busiest_cores": "cores that the busiest server process kept busy while events were published",
    "delivered": "share of the expected deliveries that came",
    "deliveries_per_s": "deliveries per second while events came",
    "missing": "events that a client did not get although it got later ones",
    "repeated": "events that a client got twice or out of order",
    "p50_ms": "latency from publication to the client, median, ms",
    "p99_ms": "the same, 99th percentile, ms",
    "max_ms": "the same, the largest, ms",
    "published_per_s": "events that the publisher managed to publish per second",
    "joined_s": "s until all clients were connected",
    "subscribed_s": "s until all clients were subscribed, and had the recent events where there are any",
    "connect_us": "µs of server CPU per client until all were subscribed",
    "socket_kib": "KiB of resident memory per subscribed socket",
    "resident_mib": "MiB of resident memory with all clients subscribed",
    "relayed_per_s": "events per second from the Redis Stream into history, layer and hub",
    "relay_cores": "cores of the relay at 20,000 events per second",
    "follower_cores": "cores of a server process without clients at 20,000 events per second",
    "load_average": "runnable processes over the last minute, before the run",
}


@dataclass(frozen=True, slots=True)
class Result:
    """One run.

    failure: why it came to nothing; empty when it did not
    metrics: by the names of `METRICS`
    """

    case: str
    peer: str
    metrics: dict[str, float] = field(default_factory=dict)
    failure: str = ""

    def as_json(self) -> str:
        rounded = {name: float(f"{value:.5g}") for name, value in self.metrics.items()}
        return json.dumps({**asdict(self), "metrics": rounded}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Record:
    """All that a file of results has: what was run where, then one result per line.

    about: the machine, the versions, the command line and the time, by name
    """

    about: dict[str, str]
    results: list[Result]

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Raises `OSError` when the file is not there, `ValueError` when it is something else."""
        first, *rest = path.read_text(encoding="utf-8").splitlines() or [""]
        about: dict[str, Any] = json.loads(first)
        return cls(about["about"], [Result(**json.loads(line)) for line in rest])

    def values(self, case: str, peer: str, metric: str) -> list[float]:
        """What the runs found, in their order; without those that failed."""
        found = (result for result in self.results if result.case == case and result.peer == peer)
        return [result.metrics[metric] for result in found if metric in result.metrics]

    def failures(self, case: str, peer: str) -> list[str]:
        """Why runs came to nothing."""
        return [r.failure for r in self.results if r.case == case and r.peer == peer and r.failure]


class ResultFile:
    """Results as they come: what was measured is kept, however the benchmark ends."""

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        path.write_text(json.dumps({"about": about}, ensure_ascii=False) + "\n", encoding="utf-8")

    def add(self, result: Result) -> None:
        with self.path.open("a", encoding="utf-8") as output:
            output.write(result.as_json() + "\n")


def median(values: Iterable[float]) -> float | None:
    """The middle one; of an even number, the mean of the two in the middle; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
