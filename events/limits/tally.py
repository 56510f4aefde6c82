"""How many of something are there, in all and per key."""

from collections import Counter


class Tally:
    """Counts what came and has not left: at most `limit`, and at most `limit_per_key` under one key.

    Remembers keys that have something there, and no others.
    """

    def __init__(self, limit: int, limit_per_key: int) -> None:
        self._limit = limit
        self._limit_per_key = limit_per_key
        self._counts: Counter[str] = Counter()
        self.total = 0

    def is_full(self, beyond: int = 0) -> bool:
        """Whether the limit is reached; with `beyond`, the limit and so many more."""
        return self.total >= self._limit + beyond

    def is_full_for(self, key: str) -> bool:
        """An empty key has no limit of its own."""
        return bool(key) and self._counts[key] >= self._limit_per_key

    def enter(self, key: str) -> None:
        self.total += 1
        if key:
            self._counts[key] += 1

    def leave(self, key: str) -> None:
        """Once for each `enter`."""
        self.total -= 1
        if key:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]

    @property
    def keys(self) -> int:
        """How many keys are remembered."""
        return len(self._counts)
