"""Doing many things over a time, evenly, also when whoever does them is held up meanwhile. Pure: the caller brings the time."""

from typing import Final

#: What was held up ends after so many times the window, however fast it has to go then.
LONGEST: Final = 1.5


class Pace:
    """`total` things over `window_s` seconds from `start`, looked at every `step_s` or so.

    A look that comes late makes up for one step at most: for the rest everything takes longer. Otherwise a pause would end in
    a burst, which is what the window is to prevent.
    """

    def __init__(self, total: int, window_s: float, step_s: float, start: float) -> None:
        self._total = total
        self._window_s = window_s
        self._step_s = step_s
        self._start = self._looked = start
        self._paced_s = 0.0

    def due(self, now: float) -> int:
        """How many of them are to be done by now."""
        self._paced_s += min(now - self._looked, 2 * self._step_s)
        self._looked = now
        if self._paced_s >= self._window_s or now - self._start >= LONGEST * self._window_s:
            return self._total
        return int(self._total * self._paced_s / self._window_s)
