"""Growth series as lines: what the charts draw and the growth tables list."""

from dataclasses import dataclass
from typing import Final

from bench.cases import GROWTH
from bench.peer import PEERS_BY_NAME
from bench.result import Record, median

#: What grows, by the name of the series.
SERIES: Final = {
    "clients": "Clients",
    "rate": "Events per second",
    "topics": "Topics",
    "subscriptions": "Subscriptions per client",
    "bytes": "Bytes per event",
}

#: What is drawn over it.
PANELS: Final = {
    "server_us": "Server CPU per delivery, µs",
    "p99_ms": "Latency, 99th percentile, ms",
    "resident_mib": "Server memory, MiB",
}

#: A point at which less than this share arrived in time says nothing about cost or latency.
DELIVERED: Final = 0.99


@dataclass(frozen=True, slots=True)
class Line:
    """One server's points: `x` is what grows, `y` the metric."""

    peer: str
    x: list[float]
    y: list[float]

    @property
    def title(self) -> str:
        return PEERS_BY_NAME[self.peer].title


def lines(record: Record, series: str, metric: str) -> list[Line]:
    """One line per server that has points; those at which it was overloaded are left out."""
    cases = [case for case in GROWTH if case.series == series]
    found = []
    for peer in dict.fromkeys(peer for case in cases for peer in case.peers):
        points = [(case.x, value) for case in cases if (value := _value(record, case.name, peer, metric)) is not None]
        if points:
            found.append(Line(peer, [x for x, _ in points], [y for _, y in points]))
    return found


def _value(record: Record, case: str, peer: str, metric: str) -> float | None:
    delivered = median(record.values(case, peer, "delivered"))
    return median(record.values(case, peer, metric)) if delivered is not None and delivered >= DELIVERED else None
