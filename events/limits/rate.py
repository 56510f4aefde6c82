"""Rates: how often something may happen, and who has used up how much of it."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

#: Keys that a `KeyedRate` remembers. One that is forgotten starts afresh, so this bounds memory and hardly anything else.
MAX_KEYS: Final = 10_000

#: Who is charged more than there is waits for it no longer than this.
LONGEST_DEBT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """So many per second, and so many at once."""

    per_s: float
    burst: float

    def times(self, factor: float) -> "Rate":
        return Rate(self.per_s * factor, self.burst * factor)


UNLIMITED: Final = Rate(math.inf, math.inf)


class TokenBucket:
    """One party's share of a rate. Times are seconds of one monotonic clock."""

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens = rate.burst
        self._at = -math.inf

    def take(self, now: float, amount: float = 1.0) -> float:
        """Take `amount` and return 0, or take nothing and return the seconds until it can be had.

        More than the burst can never be had: that is infinitely long.
        """
        wait_s = self.wait_s(now, amount)
        if not wait_s:
            self._tokens -= amount
        return wait_s

    def wait_s(self, now: float, amount: float = 1.0) -> float:
        """What `take` would return; nothing is taken."""
        rate = self._rate
        if now > self._at:
            gained = (now - self._at) * rate.per_s
            self._tokens = min(rate.burst, self._tokens + gained)
            self._at = now
        if amount <= self._tokens:
            return 0.0
        if amount > rate.burst:
            return math.inf
        return (amount - self._tokens) / rate.per_s

    def charge(self, now: float, amount: float) -> None:
        """Take `amount`, be it there or not: then nothing can be had until it is made up for, for `LONGEST_DEBT_S` at most."""
        self.wait_s(now)
        self._tokens = max(self._tokens - amount, -self._rate.per_s * LONGEST_DEBT_S)


class KeyedRate:
    """A bucket for each key, for example an address; the keys that were not used for longest are forgotten."""

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self._rate = rate
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, key: str, now: float, amount: float = 1.0) -> float:
        """As `TokenBucket.take`, for this key."""
        return self._bucket(key).take(now, amount)

    def charge(self, key: str, now: float, amount: float) -> None:
        """As `TokenBucket.charge`, for this key."""
        self._bucket(key).charge(now, amount)

    def wait_s(self, key: str, now: float, amount: float = 1.0) -> float:
        """As `TokenBucket.wait_s`, for this key; one that is not known yet has not taken anything."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        # Who is only ever told to wait must not be forgotten for it.
        self._buckets.move_to_end(key)
        return bucket.wait_s(now, amount)

    def _bucket(self, key: str) -> TokenBucket:
        bucket = self._buckets.pop(key, None) or TokenBucket(self._rate)
        self._buckets[key] = bucket
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)
