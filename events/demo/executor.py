"""Many runs at once, paced by a clock."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Final

from events.demo.catalogue import WORKFLOWS, Market
from events.demo.script import script
from events.domain.event import encode_event

Publish = Callable[[list[bytes]], Awaitable[object]]

#: A publisher that was held up makes good for so much of the lost time, and no more.
MAX_LAG_S: Final = 1.0

#: Documents that are handed over at once.
BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Timing:
    """The clocks. `monotonic` (seconds) paces; `unix` (seconds) is what timestamps are made from."""

    monotonic: Callable[[], float] = time.monotonic
    unix: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


class DemoExecutor:
    """Publishes made-up runs: on average `rate` events per second, each when its timestamp comes.

    The same seed gives the same runs in the same order. Raises `ValueError` when `rate` is not above 0.
    """

    def __init__(self, rate: float = 5.0, seed: int | None = None, timing: Timing | None = None) -> None:
        if not rate > 0:
            raise ValueError("rate must be above 0 events per second")
        self._rate = rate
        self._random = Random(seed)  # noqa: S311 - prices, not secrets
        self._market = Market(self._random)
        self._timing = timing or Timing()
        self._agenda: list[tuple[float, int, bytes]] = []
        self._sequence = count()

    async def run(self, publish: Publish, *, runs: float = inf, seconds: float = inf) -> None:
        """Publish until cancelled, or until `runs` runs have ended, or all those that started within `seconds`.

        `publish` gets JSON documents in the order in which they happen; what it raises ends the demo.
        """
        next_run = self._timing.monotonic()
        deadline = next_run + seconds
        while True:
            now = self._timing.monotonic()
            next_run = max(next_run, now - MAX_LAG_S)
            while runs > 0 and next_run <= now and next_run < deadline:
                next_run += self._begin(next_run)
                runs -= 1
            await self._publish_due(publish, now)
            wake = next_run if runs > 0 and next_run < deadline else inf
            if self._agenda:
                wake = min(wake, self._agenda[0][0])
            if wake == inf:
                return
            await self._timing.sleep(max(0.0, wake - self._timing.monotonic()))

    def _begin(self, at: float) -> float:
        """Put a run that starts at `at` on the agenda; returns how long to wait with the next one, in seconds."""
        workflow = self._random.choice(WORKFLOWS)
        # Each run reads the wall clock anew, so that a demo which runs for days follows its corrections.
        start_ms = int((self._timing.unix() - (self._timing.monotonic() - at)) * 1_000)
        steps = script(workflow, self._market.tick(workflow.symbol), start_ms)
        for step in steps:
            due = at + (step.at_ms - start_ms) / 1_000
            heappush(self._agenda, (due, next(self._sequence), encode_event(step.fields)))
        return len(steps) / self._rate * self._random.uniform(0.5, 1.5)

    async def _publish_due(self, publish: Publish, now: float) -> None:
        due = []
        while self._agenda and self._agenda[0][0] <= now:
            due.append(heappop(self._agenda)[2])
        for first in range(0, len(due), BATCH):
            await publish(due[first : first + BATCH])
