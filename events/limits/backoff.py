"""Waiting times after failures: the more often something failed, the longer until it may be tried again."""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

from events.limits.rate import MAX_KEYS

#: The first waiting time, and the longest. Each further failure doubles it.
FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0

#: One failure is forgiven for each so long without another one.
FORGIVE_S: Final = 60.0


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0
    until: float = 0.0

    def left(self, now: float) -> int:
        """Those that are not forgiven."""
        return max(0, self.count - int((now - self.last) / FORGIVE_S))


class Backoff:
    """Failures per key, for example an address. `allowed` of them are free; after that each one has to be waited out, and one
    is tried at a time, or whoever tries many at once would not have to wait for any. Nothing but time makes good: were it a
    success, who can have one whenever he likes could try everything else in between.

    Times are seconds of one monotonic clock. The keys whose last failure is oldest are forgotten first.
    """

    def __init__(self, allowed: int, max_keys: int = MAX_KEYS) -> None:
        self._allowed = allowed
        self._max_keys = max_keys
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        #: Tries that were begun and are not over.
        self._under_way: Counter[str] = Counter()

    def begin(self, key: str, now: float) -> float:
        """Begin a try, and return 0: `end` is to be called once. Or begin nothing, and return the seconds until this key may
        try again."""
        wait_s = self.wait_s(key, now)
        if wait_s:
            return wait_s
        failures = self._failures.get(key)
        if failures is not None and failures.left(now) >= self._allowed and self._under_way[key]:
            return FIRST_S
        self._under_way[key] += 1
        return 0.0

    def wait_s(self, key: str, now: float) -> float:
        """The seconds that this key has to wait for what has failed by now. A try that was begun may ask before it goes on."""
        failures = self._failures.get(key)
        return max(0.0, failures.until - now) if failures is not None else 0.0

    def end(self, key: str, now: float, *, failed: bool) -> None:
        """A try that was begun is over."""
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
        if failed:
            self.fail(key, now)

    def fail(self, key: str, now: float) -> None:
        """Something failed that was not begun here."""
        failures = self._failures.pop(key, None) or _Failures()
        failures.count = failures.left(now) + 1
        failures.last = now
        beyond = failures.count - self._allowed
        if beyond > 0:
            # Bounded before it is raised to a power: a failure a second makes a large number within a day.
            failures.until = now + min(LONGEST_S, FIRST_S * 2 ** min(beyond - 1, 16))
        self._failures[key] = failures
        if len(self._failures) > self._max_keys:
            self._failures.popitem(last=False)

    def __len__(self) -> int:
        return len(self._failures)
