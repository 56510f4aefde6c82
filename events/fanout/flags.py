"""The leading relay's eye on executions: what the admin flags is in the log, too."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import structlog

from events.domain.durations import Typical, usual
from events.domain.execution import Execution
from events.domain.oddities import silence, state_oddities
from events.domain.topics import ALL
from events.ports import History, StateStore, Unavailable

log = structlog.get_logger("events")

#: How often executions are looked at, and how many: those with the newest events.
INTERVAL_S: Final = 10.0
LOOKED_AT: Final = 200

#: Flags that are remembered to have been logged: more than one look finds.
REMEMBERED: Final = 10_000

#: What kind of flag: as `state_oddities` names it, or for silence the number of the event after which nothing came.
Kind = str | int


class FlagWatch:
    """Logs each kind of flag of an execution once, as far as it remembers: the flags that it saw last."""

    def __init__(
        self, history: History, store: StateStore, leads: Callable[[], bool], clock: Callable[[], float] = time.time
    ) -> None:
        self._history = history
        self._store = store
        self._leads = leads
        self._clock = clock
        #: By execution and kind, the one that was seen last at the end.
        self._told: OrderedDict[tuple[str, Kind], None] = OrderedDict()

    async def run(self) -> None:
        """Look while this relay leads, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.look()
            except Unavailable as error:
                log.warning("flags_unknown", reason=str(error))

    async def look(self) -> None:
        """Log what is new."""
        if not self._leads():
            self._told.clear()
            return
        executions = (await self._history.snapshot(ALL, LOOKED_AT)).executions
        typical = await self._typical(executions)
        now = self._clock()
        for each in executions:
            for kind, text in _flags(each, typical, now):
                if self._is_new(each.execution_id, kind):
                    log.warning("execution_flagged", execution_id=each.execution_id, workflow_id=each.workflow_id, reason=text)
            # Each has up to hundreds of nodes, and this process relays events.
            await asyncio.sleep(0)

    async def _typical(self, executions: Sequence[Execution]) -> Typical:
        remembered = await self._store.durations(sorted({each.workflow_id for each in executions}))
        return usual(remembered, executions)

    def _is_new(self, execution_id: str, kind: Kind) -> bool:
        """Whether this has not been logged. It has been from now on."""
        flag = (execution_id, kind)
        new = flag not in self._told
        self._told[flag] = None
        self._told.move_to_end(flag)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return new


def _flags(execution: Execution, typical: Typical, now: float) -> Iterator[tuple[Kind, str]]:
    """What is odd about an execution, one text for each kind."""
    if silent := silence(execution, typical, now):
        yield execution.last, silent
    yield from state_oddities(execution).items()
