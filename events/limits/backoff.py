"""Waiting times after failures: the more often something failed, the longer until it may be tried again."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from events.limits.rate import MAX_KEYS

#: The first waiting time, and the longest. Each further failure doubles it.
FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0

#: A key without failures for so long is as good as new.
FORGET_S: Final = 600.0


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0
    until: float = 0.0


class Backoff:
    """Failures per key, for example an address. `allowed` of them are free; after that each one has to be waited out.

    Times are seconds of one monotonic clock. The keys whose last failure is oldest are forgotten first.
    """

    def __init__(self, allowed: int, max_keys: int = MAX_KEYS) -> None:
        self._allowed = allowed
        self._max_keys = max_keys
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """Seconds until this key may try again; 0 when it may now."""
        failures = self._failures.get(key)
        return max(0.0, failures.until - now) if failures is not None else 0.0

    def failed(self, key: str, now: float) -> None:
        """A try failed."""
        failures = self._failures.pop(key, None)
        if failures is None or now - failures.last > FORGET_S:
            failures = _Failures()
        failures.count += 1
        failures.last = now
        beyond = failures.count - self._allowed
        if beyond > 0:
            # Bounded before it is raised to a power: a failure a second makes a large number within a day.
            failures.until = now + min(LONGEST_S, FIRST_S * 2 ** min(beyond - 1, 16))
        self._failures[key] = failures
        if len(self._failures) > self._max_keys:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """A try succeeded: this key's failures are forgotten."""
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._failures)
