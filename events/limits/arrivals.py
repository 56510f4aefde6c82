"""How fast new connections of an address come, and what those send that cannot be read."""

from typing import Final

from events.limits.rate import KeyedRate, Rate

#: What cannot be read counts as so many new connections as may come in this time: twenty such a second leave no room.
#: Where one program of an office is broken, nobody else there is to notice anything.
UNREADABLE_S: Final = 0.05

#: Of those that are refused, so many get a clear answer: that share of the rate and of what may come at once. An answer takes
#: nearly as much work as a client does; the others are turned away before they are heard.
ANSWERED: Final = 0.2


class Arrivals:
    """`per_s` new connections of a key, for example an address, and `burst` at once. An empty key has no limit.

    Those that are refused do not count, so that many that try again and again cannot keep each other out. Times are seconds of
    one monotonic clock.
    """

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._rate = KeyedRate(Rate(per_s, burst))
        self._answers = KeyedRate(Rate(ANSWERED * per_s, max(1.0, ANSWERED * burst)))

    def come(self, key: str, now: float) -> float:
        """One comes. Returns 0, or the seconds to wait when it is one too many."""
        return self._rate.take(key, now) if key else 0.0

    def offend(self, key: str, now: float) -> None:
        """One has sent what cannot be read. The more of it comes, the longer nothing else may, up to a minute."""
        if key:
            self._rate.charge(key, now, self._per_s * UNREADABLE_S)

    def heard(self, key: str, now: float) -> bool:
        """Before one comes: whether it is to be listened to. One that would be refused is, where not enough others were told so
        lately."""
        return not key or not self._rate.wait_s(key, now) or not self._answers.take(key, now)
