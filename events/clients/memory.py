"""The client registry within one process."""

import time
from collections import Counter
from collections.abc import Callable

from events.clients.encoding import decode, encode
from events.ports import ClientChanges, ProcessReport


class MemoryClientRegistry:
    """`clock` gives seconds from any beginning."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: dict[str, tuple[float, bytes]] = {}
        self._rows: dict[str, tuple[float, dict[str, bytes]]] = {}
        self._totals: Counter[str] = Counter()

    async def report(self, report: ProcessReport, ttl_s: float) -> None:
        self._reports[report.process] = (self._clock() + ttl_s, encode(report))
        self._totals.update(report.counters)

    async def withdraw(self, process: str) -> None:
        self._reports.pop(process, None)
        self._rows.pop(process, None)

    async def reports(self) -> list[ProcessReport]:
        """In the order of the processes' names."""
        now = self._clock()
        self._reports = {process: kept for process, kept in self._reports.items() if kept[0] > now}
        return [decode(self._reports[process][1]) for process in sorted(self._reports)]

    async def totals(self) -> dict[str, int]:
        return dict(self._totals)

    async def put_clients(self, process: str, changes: ClientChanges, ttl_s: float) -> int:
        rows = {} if changes.anew else await self.clients(process)
        rows |= changes.rows
        for sid in changes.gone:
            rows.pop(sid, None)
        self._rows[process] = (self._clock() + ttl_s, rows)
        return len(rows)

    async def clients(self, process: str) -> dict[str, bytes]:
        until, rows = self._rows.get(process, (0.0, {}))
        return dict(rows) if until > self._clock() else {}

    async def client(self, sid: str) -> bytes | None:
        for report in await self.reports():
            row = (await self.clients(report.process)).get(sid)
            if row is not None:
                return row
        return None

    async def close(self) -> None:
        """Nothing to close."""
