"""The relay's view of executions: their states after the events that it is about to write."""

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from events.domain.entry import Position
from events.domain.event import Event
from events.domain.execution import RUNNING, Execution
from events.domain.snapshot import fold_all
from events.ports import History

#: Running executions whose state is kept at hand, each counted with its nodes. The one without events for longest gives way,
#: and is read from the history when it is wanted again.
CAPACITY: Final = 100_000


class Folder:
    """Folds events into the states of their executions.

    What it answers is to be written together with the events. Whether that was done shows in the place from which it is
    asked next: the place after those events, or the one before them (then they are folded again, from the same states).
    Asked from anywhere else, it trusts nothing that it knows. The events of the last place may still be on their way to the
    history: nothing of what they touched is read there.
    """

    def __init__(self, history: History, capacity: int = CAPACITY) -> None:
        self._history = history
        self._capacity = capacity
        self._known: OrderedDict[str, Execution] = OrderedDict()
        self._size = 0
        self._at: Position | None = None
        self._next: Position | None = None
        self._folded: Sequence[Execution] = ()
        #: The states after the events of the step before, also of executions that ended.
        self._last: Mapping[str, Execution] = {}

    def clear(self) -> None:
        """Forget everything: somebody else may have written."""
        self._known.clear()
        self._size = 0
        self._at = self._next = None
        self._folded, self._last = (), {}

    def stands_before(self, position: Position) -> bool:
        """Whether the events at this place follow those that were folded last."""
        return position == self._next

    async def fold(self, events: Sequence[Event], position: Position) -> list[Execution]:
        """The state of each execution that the events belong to, after them. The events follow `position` in the journal.

        Raises `Unavailable` when a state has to be read and cannot; asking again does no harm.
        """
        self._move_to(position)
        grouped: defaultdict[str, list[tuple[Mapping[str, Any], int]]] = defaultdict(list)
        for number, event in enumerate(events, position.number + 1):
            grouped[event.fields["execution_id"]].append((event.fields, number))
        before = await self._states(list(grouped))
        self._folded = folded = [fold_all(before[name], numbered) for name, numbered in grouped.items()]
        self._next = Position(position.epoch, position.number + len(events))
        return folded

    def _move_to(self, position: Position) -> None:
        if position == self._next:
            self._last = {execution.execution_id: execution for execution in self._folded}
            for execution in self._folded:
                self._keep(execution)
        elif position != self._at:
            self.clear()
        self._at, self._next, self._folded = position, None, ()

    def _keep(self, execution: Execution) -> None:
        former = self._known.pop(execution.execution_id, None)
        self._size -= _size(former)
        # Hardly any event comes after the end.
        if execution.status == RUNNING:
            self._known[execution.execution_id] = execution
            self._size += _size(execution)
        while self._size > self._capacity:
            _, oldest = self._known.popitem(last=False)
            self._size -= _size(oldest)

    async def _states(self, ids: Sequence[str]) -> Mapping[str, Execution | None]:
        at_hand = {name: self._last.get(name) or self._known.get(name) for name in ids}
        unknown = [name for name, state in at_hand.items() if state is None]
        read = zip(unknown, await self._history.executions(unknown), strict=True) if unknown else ()
        return {**at_hand, **dict(read)}


def _size(execution: Execution | None) -> int:
    return 0 if execution is None else 1 + len(execution.nodes)
