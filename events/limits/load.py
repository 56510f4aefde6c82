"""How much of something is held, in all and per key."""

from collections import Counter


class Load:
    """Amounts that were added and not removed: at most `limit`, and at most `limit_per_key` under one key. An empty key has no
    limit of its own."""

    def __init__(self, limit: int, limit_per_key: int) -> None:
        self._limit = limit
        self._limit_per_key = limit_per_key
        self._amounts: Counter[str] = Counter()
        self.total = 0

    def add(self, key: str, amount: int) -> bool:
        """False, and nothing is added, where it is too much."""
        if self.total + amount > self._limit or (key and self._amounts[key] + amount > self._limit_per_key):
            return False
        self.total += amount
        if key:
            self._amounts[key] += amount
        return True

    def remove(self, key: str, amount: int) -> None:
        """What was added is gone."""
        self.total -= amount
        if key:
            self._amounts[key] -= amount
            if not self._amounts[key]:
                del self._amounts[key]

    @property
    def keys(self) -> int:
        """How many keys are remembered."""
        return len(self._amounts)
