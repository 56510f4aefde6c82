"""How late events are, per stage of their path, in buckets that add up over processes and time.

Times are taken from the clocks of the machines that an event passes; where these disagree, a stage looks shorter or longer
by as much, and never shorter than nothing.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Final

#: The stages. `bus`: published → in the history. `group`: in the history → heard by a hub. `socket`: heard by a hub → written
#: to the sockets. `total`: published → written to the sockets.
STAGES: Final = ("bus", "group", "socket", "total")

#: What else is kept in such buckets. `canary`: put on the bus → heard by a hub. `loop`: by how much the event loop was late for
#: a timer.
CANARY: Final = "canary"
LOOP: Final = "loop"

#: Upper bounds of the buckets in seconds. What is later than the last falls into one more, without a bound.
BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

#: Labels of the buckets, as counters have them.
BUCKETS: Final = (*(f"{bound:g}" for bound in BOUNDS), "inf")

#: Batches whose times wait to be counted: half a millisecond's work.
MOST_NOTED: Final = 100

#: The counter beside the buckets: the sum of what was observed, in microseconds.
SUM: Final = "sum_us"


def observe(counted: Counter[str], name: str, seconds: float, count: int = 1) -> None:
    """Count `count` events that took so long, under `latency_<name>:<bucket>` of the labelled counters."""
    seconds = max(0.0, seconds)
    keys = _KEYS[name]
    counted[keys[bisect_left(BOUNDS, seconds)]] += count
    counted[keys[-1]] += round(seconds * 1e6) * count


class BatchTimes:
    """How late batches were, counted many at once: while a process waits for the next message, the caches forget how to count.

    Whoever reads `counted` has to call `count` before.
    """

    def __init__(self, counted: Counter[str]) -> None:
        self._counted = counted
        self._noted: list[tuple[float, float, float, float, int]] = []

    def note(self, published: float, relayed: float, heard: float, written: float, events: int) -> None:
        """A batch of so many events, which count as late as the oldest. Unix times; 0 for those that are not known."""
        self._noted.append((published, relayed, heard, written, events))
        if len(self._noted) >= MOST_NOTED:
            self.count()

    def count(self) -> None:
        """Count what was noted."""
        # Taken first: views that read the counters call this in threads of theirs, and nothing may be counted twice.
        noted, self._noted = self._noted, []
        for published, relayed, heard, written, events in noted:
            observe(self._counted, "socket", written - heard, events)
            if relayed:
                observe(self._counted, "group", heard - relayed, events)
            if published:
                observe(self._counted, "total", written - published, events)


def buckets(counters: Mapping[str, int], name: str) -> list[int]:
    """How many were in each bucket (not in all before it), from counters as `Counters.as_dict` gives them."""
    return [counters.get(key, 0) for key in _KEYS[name][:-1]]


def sum_seconds(counters: Mapping[str, int], name: str) -> float:
    """The sum of all that was observed."""
    return counters.get(_KEYS[name][-1], 0) / 1e6


def quantile(counts: list[int], share: float) -> float | None:
    """Seconds that `share` of what is in the buckets stayed at or below, within its bucket as if spread evenly; None when
    there is nothing. What lies beyond the last bound counts as being there."""
    wanted, seen = sum(counts) * share, 0
    if not wanted:
        return None
    for index, count in enumerate(counts):
        if count and seen + count >= wanted:
            low = BOUNDS[index - 1] if index else 0.0
            high = BOUNDS[min(index, len(BOUNDS) - 1)]
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return BOUNDS[-1]


_KEYS: Final = {
    name: tuple(f"latency_{name}:{label}" for label in (*BUCKETS, SUM)) for name in (*STAGES, CANARY, LOOP)
}  # fmt: skip
