"""The leading relay's memory of what nodes usually take."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from events.domain.durations import durations
from events.domain.execution import RUNNING
from events.domain.topics import ALL
from events.ports import History, StateStore, Unavailable

log = structlog.get_logger("events")

#: How often executions that ended are looked at, and how many: on a busy system these are samples, which is enough.
INTERVAL_S: Final = 10.0
LOOKED_AT: Final = 50


class DurationKeeper:
    """Has the state store remember how long nodes took, so that it is known after their executions are forgotten."""

    def __init__(self, history: History, store: StateStore, leads: Callable[[], bool]) -> None:
        self._history = history
        self._store = store
        self._leads = leads
        #: The history's epoch, and how far its executions have been looked at.
        self._seen = ("", 0)

    async def run(self) -> None:
        """Look while this relay leads, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.look()
            except Unavailable as error:
                log.warning("durations_not_kept", reason=str(error))

    async def look(self) -> None:
        """Keep what is new. Each execution counts once, by its last event."""
        if not self._leads():
            self._seen = ("", 0)
            return
        found = await self._history.snapshot(ALL, LOOKED_AT)
        epoch, number = self._seen
        if epoch == found.epoch:
            ended = [each for each in found.executions if each.status != RUNNING and each.last > number]
            await self._store.keep_durations(durations(ended))
        self._seen = (found.epoch, found.number)
