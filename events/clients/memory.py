"""The client registry within one process."""

import time
from collections import Counter
from collections.abc import Callable

from events.clients.encoding import decode, encode
from events.ports import ProcessReport


class MemoryClientRegistry:
    """`clock` gives seconds from any beginning."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: dict[str, tuple[float, bytes]] = {}
        self._totals: Counter[str] = Counter()

    async def report(self, report: ProcessReport, ttl_s: float) -> None:
        self._reports[report.process] = (self._clock() + ttl_s, encode(report))
        self._totals.update(report.counters)

    async def withdraw(self, process: str) -> None:
        self._reports.pop(process, None)

    async def reports(self) -> list[ProcessReport]:
        """In the order of the processes' names."""
        now = self._clock()
        self._reports = {process: kept for process, kept in self._reports.items() if kept[0] > now}
        return [decode(self._reports[process][1]) for process in sorted(self._reports)]

    async def totals(self) -> dict[str, int]:
        return dict(self._totals)

    async def close(self) -> None:
        """Nothing to close."""
