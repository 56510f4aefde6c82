"""The states of executions within one process."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from events.conf import HistoryLimits
from events.domain.execution import Execution


@dataclass(slots=True)
class _Listing:
    """The executions of one topic by id, the newest event last; `touched` is when it came."""

    ids: OrderedDict[str, None] = field(default_factory=OrderedDict)
    touched: float = 0.0


class MemoryExecutions:
    """The states of one epoch. Bounded by `HistoryLimits.executions`; a topic is listed as long as one of them is its."""

    def __init__(self, limits: HistoryLimits) -> None:
        self._limits = limits
        self._states: OrderedDict[str, tuple[Execution, float]] = OrderedDict()
        self._listings: OrderedDict[str, _Listing] = OrderedDict()

    def put(self, executions: Sequence[Execution], now: float) -> None:
        """Replace some states."""
        for execution in sorted(executions, key=lambda each: each.last):
            self._states[execution.execution_id] = execution, now
            self._states.move_to_end(execution.execution_id)
            for topic in execution.topics:
                self._list(topic, execution.execution_id, now)
        self._forget(now)

    def get(self, execution_id: str, now: float) -> Execution | None:
        """The state of an execution that is known and not too old."""
        state, touched = self._states.get(execution_id, (None, 0.0))
        return state if now - touched < self._limits.execution_ttl_s else None

    def of_topic(self, topic: str, now: float) -> Iterator[Execution]:
        """The executions of a topic, newest first."""
        listing = self._listings.get(topic)
        for execution_id in list(reversed(listing.ids))[: self._limits.executions_per_topic] if listing else ():
            state = self.get(execution_id, now)
            if state is not None and topic in state.topics:
                yield state

    def _list(self, topic: str, execution_id: str, now: float) -> None:
        listing = self._listings.setdefault(topic, _Listing())
        self._listings.move_to_end(topic)
        listing.ids[execution_id] = None
        listing.ids.move_to_end(execution_id)
        listing.touched = now
        if len(listing.ids) > self._limits.executions_per_topic:
            listing.ids.popitem(last=False)

    def _forget(self, now: float) -> None:
        """Both maps are in order of last use, so what is too old or too much is at the front. A listing whose executions
        are all too old is too old itself; one whose executions gave way stays until then, with ids that lead nowhere."""
        oldest = now - self._limits.execution_ttl_s
        while self._states and (len(self._states) > self._limits.executions or next(iter(self._states.values()))[1] <= oldest):
            self._states.popitem(last=False)
        most = 3 * self._limits.executions + 1
        while self._listings and (len(self._listings) > most or next(iter(self._listings.values())).touched <= oldest):
            self._listings.popitem(last=False)
