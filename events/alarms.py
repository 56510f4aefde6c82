"""Many deadlines on one timer of the event loop.

asyncio's timers are exact, and the loop keeps all of them sorted. Heartbeats need not be exact: here deadlines that lie close
together ring at the same time, and to set or clear one takes the same time however many there are.
"""

import asyncio
import heapq
import math
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from events.clients_last import AS_CLIENT

log = structlog.get_logger("events")

#: Deadlines within so many seconds ring together, at the end of them.
GRAIN_S: Final = 0.05

#: An alarm that rings so late was held up by the process, not by the peer.
HELD_UP_S: Final = 0.5


class Sleeper(Protocol):
    """Who sets an alarm: one at a time."""

    #: In which slot its alarm is; 0 while none is set. To be changed by `Alarms` alone.
    alarm: int

    def ring(self) -> None: ...


class Alarms:
    """The alarms of all clients. `now` is the clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        #: Who is to be rung by the end of each slot of time; and the numbers of these slots, as a heap.
        self._slots: dict[int, set[Sleeper]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        #: Which slot the timer is set for.
        self._timer_slot = 0
        self._put_off = False

    def put(self, sleeper: Sleeper, at: float) -> None:
        """Ring at this time, or up to `GRAIN_S` later, in the place of the alarm that was set before; never at infinity."""
        self.clear(sleeper)
        if at == math.inf:
            return
        slot = max(math.ceil(at / GRAIN_S), math.floor(self._now() / GRAIN_S) + 1)
        members = self._slots.get(slot)
        if members is None:
            members = self._slots[slot] = set()
            heapq.heappush(self._order, slot)
        members.add(sleeper)
        sleeper.alarm = slot
        if len(self._order) == 1 or slot < self._timer_slot:
            self._set_timer()

    def clear(self, sleeper: Sleeper) -> None:
        """Do not ring; does nothing when no alarm is set."""
        if sleeper.alarm:
            self._slots[sleeper.alarm].discard(sleeper)
            sleeper.alarm = 0

    def time_of(self, sleeper: Sleeper) -> float:
        """When it rings; infinity while no alarm is set."""
        return sleeper.alarm * GRAIN_S if sleeper.alarm else math.inf

    def ring(self) -> None:
        """Ring what is due; the timer does it. When it rang late, the loop was held up, and what peers sent meanwhile is still
        unread: that is let in first, or one long pause would close every healthy connection."""
        now = self._now()
        if not self._order:
            return
        if not self._put_off and now - self._order[0] * GRAIN_S > HELD_UP_S:
            self._put_off = True
            self._set_timer(HELD_UP_S)
            return
        self._put_off = False
        while self._order and self._order[0] * GRAIN_S <= now:
            slot = heapq.heappop(self._order)
            self._ring_all(self._slots[slot])
            del self._slots[slot]
        if self._order:
            self._set_timer()

    def _set_timer(self, at_least_s: float = 0.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_slot = self._order[0]
        wait_s = max(at_least_s, self._timer_slot * GRAIN_S - self._now())
        self._timer = asyncio.get_running_loop().call_later(wait_s, self.ring, context=AS_CLIENT.copy())

    def _ring_all(self, members: set[Sleeper]) -> None:
        # Who is rung may clear the alarms of others among them.
        while members:
            sleeper = members.pop()
            sleeper.alarm = 0
            try:
                sleeper.ring()
            except Exception:
                log.exception("alarm_failed")
