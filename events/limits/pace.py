"""Doing many things at a bounded rate, also when whoever does them is held up meanwhile. Pure: the caller brings the time."""

from typing import Final

#: Of the rate that must not be exceeded, so much is used. What is sent off evenly does not arrive evenly: clients of
#: Socket.IO wait for 0.5 to 1.5 s of their own choice, and then 50 that leave per second arrive as up to 70 in one. Of 35 that
#: leave, up to 49 do.
SHARE: Final = 0.7

#: What was held up ends after so many times the window, however fast it has to go then.
LONGEST: Final = 2.0


class Pace:
    """`total` things from `start` on, of which no second may see more than `total / window_s`; looked at every `step_s` or so.

    So they take longer than the window: `spread_s`. A look that comes late makes up for one step at most: for the rest
    everything takes longer. Otherwise a pause would end in a burst, which is what the window is to prevent.
    """

    def __init__(self, total: int, window_s: float, step_s: float, start: float) -> None:
        self.spread_s = window_s / SHARE
        self._total = total
        self._window_s = window_s
        self._step_s = step_s
        self._start = self._looked = start
        self._paced_s = 0.0

    def due(self, now: float) -> int:
        """How many of them are to be done by now."""
        self._paced_s += min(now - self._looked, 2 * self._step_s)
        self._looked = now
        if self._paced_s >= self.spread_s or now - self._start >= LONGEST * self._window_s:
            return self._total
        return int(self._total * self._paced_s / self.spread_s)
