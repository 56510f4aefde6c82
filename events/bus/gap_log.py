"""What an input found missing and nobody has asked for yet."""

from dataclasses import replace
from typing import Final

from events.ports import BusGap

#: Gaps that are kept apart. Above, the last of the same reason is widened.
MAX_GAPS: Final = 100


class GapLog:
    """Gaps in the order in which they were found. Bounded: nothing that is missing is forgotten, only told less finely."""

    def __init__(self) -> None:
        self._gaps: list[BusGap] = []

    def add(self, gap: BusGap) -> None:
        if len(self._gaps) >= MAX_GAPS:
            for place in reversed(range(len(self._gaps))):
                if self._gaps[place].reason == gap.reason:
                    self._gaps[place] = widened(self._gaps[place], gap)
                    return
        self._gaps.append(gap)

    def take(self) -> list[BusGap]:
        """The gaps since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps


def widened(gap: BusGap, later: BusGap) -> BusGap:
    """One gap over two of the same reason, and over what lies between them."""
    count = None if gap.count is None or later.count is None else gap.count + later.count
    return replace(gap, count=count, until=later.until)
