"""One line of the last hour's charts every few seconds: what this process did since the line before."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from events.fanout.counters import Counters
from events.fanout.latency import buckets
from events.ports import Sample, StateStore, Unavailable

log = structlog.get_logger("events")

#: All processes take their samples at the same times, so that their sums make sense.
INTERVAL_S = 10.0


class Sampler:
    """Samples of one process. What the store did not take is in the next sample, which then spans more time."""

    def __init__(
        self,
        process: str,
        kind: str,
        store: StateStore,
        counters: Callable[[], Counters],
        gauges: Callable[[], Mapping[str, Any]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._process = process
        self._kind = kind
        self._store = store
        self._counters = counters
        self._gauges = gauges
        self._clock = clock
        self._before = counters().copy()
        self._at = clock()

    async def run(self) -> None:
        """Take a sample at each time for one, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S - self._clock() % INTERVAL_S)
            try:
                await self.take()
            except Unavailable as error:
                log.warning("sample_failed", reason=str(error))

    async def take(self) -> None:
        """Take a sample now. Raises `Unavailable`."""
        now, counters = self._clock(), self._counters().copy()
        await self._store.add_sample(self._sample(now, counters.since(self._before)))
        self._before, self._at = counters, now

    def _sample(self, now: float, counted: Mapping[str, int]) -> Sample:
        gauges = self._gauges()
        return Sample(
            process=self._process,
            kind=self._kind,
            at=now,
            span_s=max(0.001, now - self._at),
            clients=gauges.get("clients", 0),
            lagging=gauges.get("lagging", 0),
            received=counted.get("received", 0),
            sent=counted.get("sent", 0),
            rejected=counted.get("rejected", 0),
            relay_lag_s=gauges.get("lag_s", 0.0) if gauges.get("leading") else None,
            latency=buckets(counted, "total"),
        )
