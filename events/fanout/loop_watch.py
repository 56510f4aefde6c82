"""Whether the event loop turns: how late its timers are, and what holds it up when it stands still."""

import asyncio
import sys
import threading
import time
import traceback
from collections import Counter, deque
from typing import Final

import structlog

from events.fanout.latency import LOOP, observe

log = structlog.get_logger("events")

#: How often the loop is asked, and how many of its answers are remembered: ten seconds of them.
INTERVAL_S: Final = 0.1
REMEMBERED: Final = 100

#: A loop that has not turned for so long is logged, with what it is doing.
STALL_S: Final = 2.0

#: Innermost lines of the traceback of a stalled loop.
STALL_FRAMES: Final = 8


class LoopWatch:
    """Measures one event loop, from it and from a thread beside it: a loop that stands still can report nothing."""

    def __init__(self, counted: Counter[str]) -> None:
        self._counted = counted
        self._delays: deque[float] = deque([0.0], maxlen=REMEMBERED)
        self._turned_at = time.monotonic()

    @property
    def worst_s(self) -> float:
        """The longest that the loop stood still within the last ten seconds."""
        return max(self._delays)

    def gauges(self) -> dict[str, float]:
        """loop_delay_s: see `worst_s`"""
        return {"loop_delay_s": round(self.worst_s, 3)}

    async def run(self) -> None:
        """Watch the running loop, for ever."""
        ended = threading.Event()
        loop_thread = threading.get_ident()
        self._turned_at = time.monotonic()
        thread = threading.Thread(target=self._guard, args=(loop_thread, ended), name="loop-watch", daemon=True)
        thread.start()
        try:
            while True:
                await self._turn()
        finally:
            ended.set()

    async def _turn(self) -> None:
        due = time.monotonic() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        self._turned_at = time.monotonic()
        late = max(0.0, self._turned_at - due)
        self._delays.append(late)
        observe(self._counted, LOOP, late)

    def _guard(self, loop_thread: int, ended: threading.Event) -> None:
        told = False
        while not ended.wait(STALL_S / 4):
            stalled = time.monotonic() - self._turned_at
            if stalled < STALL_S:
                told = False
            elif not told:
                told = True
                log.error("event_loop_stalled", seconds=round(stalled, 1), stack=_stack(loop_thread))


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)
    return "".join(traceback.format_stack(frame)[-STALL_FRAMES:]) if frame is not None else ""
