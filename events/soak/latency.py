"""Latencies in a fixed amount of memory."""

import math
from array import array
from typing import Final

#: Buckets per power of ten: a percentile is exact to within five per cent.
_PER_DECADE: Final = 50

#: From one microsecond to a thousand seconds.
_BUCKETS: Final = 9 * _PER_DECADE


class Latencies:
    """A histogram on a logarithmic scale. Seconds go in, milliseconds come out."""

    def __init__(self) -> None:
        self.count = 0
        self.max_ms = 0.0
        self._buckets = array("L", bytes(8 * _BUCKETS))

    def add(self, seconds: float) -> None:
        """One more; what is below a microsecond counts as one."""
        self.count += 1
        if seconds * 1_000 > self.max_ms:
            self.max_ms = seconds * 1_000
        bucket = int(_PER_DECADE * math.log10(seconds * 1e6)) if seconds > 1e-6 else 0
        self._buckets[min(bucket, _BUCKETS - 1)] += 1

    def merge(self, other: "Latencies") -> None:
        """Count the other's as well."""
        self.count += other.count
        self.max_ms = max(self.max_ms, other.max_ms)
        for bucket, count in enumerate(other._buckets):
            self._buckets[bucket] += count

    def percentile_ms(self, share: float) -> float:
        """What `share` of all stay at or below; 0 when there are none."""
        wanted = self.count * share
        seen = 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return min(10 ** ((bucket + 1) / _PER_DECADE) / 1_000, self.max_ms)
        return 0.0
