"""What one run found."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple


class Metric(NamedTuple):
    """One figure of a run: its title in tables, and what it is."""

    title: str
    meaning: str


#: Every metric by its name; a run has those that its measure gives.
METRICS: Final = {
    "server_us": Metric("server CPU, µs", "CPU time of the server per delivered event, user and system mode"),
    "relay_us": Metric("relay CPU, µs", "the same of the process that moves events to the server"),
    "load_us": Metric("load client CPU, µs", "the same of the load client"),
    "server_cores": Metric("server cores", "cores that the server kept busy while events were published"),
    "busiest_cores": Metric("busiest process, cores", "cores that the busiest server process kept busy meanwhile"),
    "delivered": Metric("delivered", "share of the expected deliveries that came within 3 s after the last publication"),
    "deliveries_per_s": Metric("deliveries/s", "while events came"),
    "missing": Metric("missing", "events that a client did not get although it got later ones"),
    "repeated": Metric("repeated", "events that a client got twice or out of order"),
    "p50_ms": Metric("p50, ms", "latency from publication to the client, median"),
    "p99_ms": Metric("p99, ms", "the same, 99th percentile"),
    "max_ms": Metric("max, ms", "the same, the largest"),
    "published_per_s": Metric("published/s", "events that the publisher managed to publish"),
    "joined_s": Metric("connected, s", "time until all clients were connected"),
    "subscribed_s": Metric("subscribed, s", "time until all were subscribed, and had the recent events where there are any"),
    "connect_us": Metric("server CPU per client, µs", "until all were subscribed"),
    "socket_kib": Metric("KiB per socket", "resident memory that a subscribed socket added"),
    "resident_mib": Metric("memory, MiB", "resident memory of the server with all clients subscribed"),
    "relayed_per_s": Metric("relayed/s", "events from the Redis Stream into history, layer and hub"),
    "relay_cores": Metric("relay, cores", "what the relay needs for the load's rate"),
    "follower_cores": Metric("follower, cores", "what a server process without clients needs to follow that"),
    "load_average": Metric("load average", "runnable processes over the minute before the run"),
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
