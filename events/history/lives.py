"""How long keys of the history live, and when that has to be said again."""

from collections.abc import Callable
from time import time
from typing import Final

#: The share of a key's life after which it is renewed, and by which it is given more life: it never has less than it should.
SHARE: Final = 1 / 8

#: Keys that are remembered.
CAPACITY: Final = 100_000


def life_ms(seconds: float) -> int:
    """What a key is given that has to live for so long after it was last written."""
    return max(1, round(seconds * (1 + SHARE) * 1000))


class Renewals:
    """Which keys one writer has not renewed lately.

    What it does not know is due, so it may be forgotten at any time, and is all at once when it becomes too much.
    """

    def __init__(self, life_s: float, clock: Callable[[], float] = time) -> None:
        """`life_s` is the shortest life of the keys. `clock` gives seconds, also of the time in which this machine slept."""
        self._interval_s = life_s * SHARE
        self._clock = clock
        self._renewed: dict[str, float] = {}

    def take(self, name: str) -> bool:
        """Whether the keys of this name are due. They are taken as renewed then: `forget`, should they not be."""
        now = self._clock()
        renewed = self._renewed.get(name)
        if renewed is not None and 0 <= now - renewed < self._interval_s:
            return False
        if len(self._renewed) >= CAPACITY:
            self._renewed.clear()
        self._renewed[name] = now
        return True

    def forget(self) -> None:
        """Nothing is known to be renewed."""
        self._renewed.clear()
