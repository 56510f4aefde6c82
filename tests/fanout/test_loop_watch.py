"""A loop that stands still is noticed, measured and logged."""

import asyncio
import time
from collections import Counter

import pytest
from structlog.testing import capture_logs

from events.fanout import loop_watch
from events.fanout.latency import LOOP, buckets
from events.fanout.loop_watch import LoopWatch
from tests.fanout.support import until


def stand_still(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stall_is_measured_and_forgotten_and_logged_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_watch, "INTERVAL_S", 0.005)
    monkeypatch.setattr(loop_watch, "STALL_S", 0.1)
    counted: Counter[str] = Counter()
    watch = LoopWatch(counted)
    with capture_logs() as logged:
        running = asyncio.create_task(watch.run())
        await until(lambda: sum(buckets(counted, LOOP)))
        stand_still(0.4)
        await until(lambda: watch.worst_s >= 0.3)
        await until(lambda: watch.worst_s < 0.3)
        running.cancel()
        await asyncio.wait([running])
    stalls = [entry for entry in logged if entry["event"] == "event_loop_stalled"]
    assert stalls
    assert any("stand_still" in entry["stack"] for entry in stalls)
