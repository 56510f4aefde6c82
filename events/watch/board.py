"""What a watcher knows: the executions that run, the last ones that ended, and how many events there were."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from events.domain.execution import RUNNING, Execution, from_dict
from events.domain.snapshot import fold
from workflow_events import Connected, Disconnected, Event, Item, Missed, Snapshot, Subscribed

#: Executions that are kept in mind. Those without events for longest are forgotten first.
MAX_EXECUTIONS: Final = 1_000

#: The rate is that of so many seconds.
RATE_S: Final = 5


class Board:
    """The state of a watch. `take` everything that a subscription yields.

    status:  of the connection, in words
    events:  how many came; `missed` how many are known not to
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.status = "connecting"
        self.connected = False
        self.events = 0
        self.missed = 0
        self._monotonic = monotonic
        self._executions: dict[str, Execution] = {}
        # Second and number of live events in it, for the last seconds.
        self._seconds: deque[tuple[int, int]] = deque(maxlen=RATE_S + 1)

    @property
    def running(self) -> list[Execution]:
        """The one that began last at the end."""
        return sorted(self._with(running=True), key=lambda execution: execution.started or "")

    def ended(self, count: int) -> list[Execution]:
        """The last ones that ended, in that order."""
        return list(islice(self._with(running=False), count))[::-1]

    @property
    def rate(self) -> float:
        """Live events per second."""
        now = int(self._monotonic())
        return sum(count for second, count in self._seconds if now - RATE_S <= second < now) / RATE_S

    def take(self, item: Item) -> None:
        """Something happened."""
        match item:
            case Event():
                self._take_event(item)
            case Snapshot():
                for state in reversed(item.executions):
                    self._put(from_dict(state))
            case Missed():
                self.missed += item.count or 0
                if item.reason == "history_lost":
                    # The numbers of events begin anew, so states cannot go on.
                    self._executions.clear()
            case Connected():
                self.status, self.connected = "connected", True
            case Disconnected():
                self.status, self.connected = item.reason, False
            case Subscribed():
                pass

    def _take_event(self, event: Event) -> None:
        self.events += 1
        if not event.replayed:
            self._count_second()
        self._put(fold(self._executions.get(event.execution_id), event.fields, event.number))

    def _put(self, execution: Execution) -> None:
        # The one with the newest event is last.
        known = self._executions.pop(execution.execution_id, None)
        newer = known if known is not None and known.last > execution.last else execution
        self._executions[execution.execution_id] = newer
        if len(self._executions) > MAX_EXECUTIONS:
            del self._executions[next(iter(self._executions))]

    def _count_second(self) -> None:
        second = int(self._monotonic())
        count = self._seconds.pop()[1] if self._seconds and self._seconds[-1][0] == second else 0
        self._seconds.append((second, count + 1))

    def _with(self, *, running: bool) -> Iterator[Execution]:
        """Executions that run, or those that do not; the one with the newest event first."""
        return (execution for execution in reversed(self._executions.values()) if (execution.status == RUNNING) == running)
