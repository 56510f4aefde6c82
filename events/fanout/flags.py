"""The leading relay's eye on executions: what the admin flags is in the log, too."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from events.domain.durations import durations, typical
from events.domain.execution import Execution
from events.domain.oddities import silence, state_oddities
from events.domain.topics import ALL
from events.ports import History, StateStore, Unavailable

log = structlog.get_logger("events")

#: How often executions are looked at, and how many: those with the newest events.
INTERVAL_S: Final = 10.0
LOOKED_AT: Final = 200

#: A flag of an execution: itself, or for silence the event after which nothing came.
Flag = tuple[str, str | int]


class FlagWatch:
    """Logs each flag of an execution once. Remembers what it logged of the executions that it looks at, and of no others."""

    def __init__(
        self, history: History, store: StateStore, leads: Callable[[], bool], clock: Callable[[], float] = time.time
    ) -> None:
        self._history = history
        self._store = store
        self._leads = leads
        self._clock = clock
        self._told: frozenset[Flag] = frozenset()

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
            self._told = frozenset()
            return
        found = await self._flags((await self._history.snapshot(ALL, LOOKED_AT)).executions)
        for key, (execution, text) in found.items():
            if key not in self._told:
                log.warning(
                    "execution_flagged", execution_id=execution.execution_id, workflow_id=execution.workflow_id, reason=text
                )
        self._told = frozenset(found)

    async def _flags(self, executions: Sequence[Execution]) -> dict[Flag, tuple[Execution, str]]:
        remembered = await self._store.durations(sorted({each.workflow_id for each in executions}))
        usual = {**typical(durations(executions)), **typical(remembered)}
        now = self._clock()
        found: dict[Flag, tuple[Execution, str]] = {}
        for each in executions:
            if text := silence(each, usual, now):
                found[each.execution_id, each.last] = each, text
            found |= {(each.execution_id, text): (each, text) for text in state_oddities(each)}
        return found
