"""From the samples of all processes to the lines of the dashboard's charts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from events.stats import SAMPLE_INTERVAL_S, Sample, quantile

#: What a chart can show of all processes together or of one, in order.
LINES: Final = ("clients", "lagging", "received", "sent", "rejected", "relay_lag_s", "p50_ms", "p99_ms")

#: The name under which all processes together are.
TOTAL: Final = "total"


@dataclass(slots=True)
class _Sum:
    """Samples of one time added up. Counts become rates per second, as a sample may span more than one interval."""

    clients: int = 0
    lagging: int = 0
    received: float = 0.0
    sent: float = 0.0
    rejected: float = 0.0
    relay_lag_s: float | None = None
    latency: list[int] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        self.clients += sample.clients
        self.lagging += sample.lagging
        self.received += sample.received / sample.span_s
        self.sent += sample.sent / sample.span_s
        self.rejected += sample.rejected / sample.span_s
        if sample.relay_lag_s is not None:
            self.relay_lag_s = max(sample.relay_lag_s, self.relay_lag_s or 0.0)
        self.latency = [a + b for a, b in zip(self.latency or [0] * len(sample.latency), sample.latency, strict=True)]

    def values(self) -> tuple[float | None, ...]:
        """In the order of `LINES`."""
        rates = [round(rate, 3) for rate in (self.received, self.sent, self.rejected)]
        return (self.clients, self.lagging, *rates, self.relay_lag_s, _milliseconds(self, 0.5), _milliseconds(self, 0.99))


def charts(samples: Iterable[Sample]) -> dict[str, Any]:
    """What the page draws: {"at": [Unix time, ...], "lines": {"total" or a process: {line: [value or null, ...]}}}.

    All lines have a value for each time; null where the process was not there, or did nothing that could be measured.
    """
    sums: defaultdict[str, defaultdict[int, _Sum]] = defaultdict(lambda: defaultdict(_Sum))
    for sample in samples:
        slot = round(sample.at / SAMPLE_INTERVAL_S)
        for name in (TOTAL, sample.process):
            sums[name][slot].add(sample)
    slots = _all_between(sums[TOTAL])
    lines = {name: _lines(found, slots) for name, found in sums.items()}
    return {"at": [slot * SAMPLE_INTERVAL_S for slot in slots], "lines": lines}


def _all_between(slots: Iterable[int]) -> Sequence[int]:
    """Times at which nobody took a sample are gaps in the lines, not bridges."""
    known = sorted(slots)
    return range(known[0], known[-1] + 1) if known else ()


def _lines(found: dict[int, _Sum], slots: Sequence[int]) -> dict[str, list[float | None]]:
    nothing = (None,) * len(LINES)
    rows = [found[slot].values() if slot in found else nothing for slot in slots]
    return {name: [row[index] for row in rows] for index, name in enumerate(LINES)}


def _milliseconds(summed: _Sum, share: float) -> float | None:
    seconds = quantile(summed.latency, share)
    return None if seconds is None else round(seconds * 1000, 2)
