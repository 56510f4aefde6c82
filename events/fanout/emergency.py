"""The platform's emergency state, as this process last read it, and telling clients of a change."""

import asyncio
from typing import Final

import structlog

from events.fanout import notices
from events.fanout.hub import Hub
from events.fanout.wire import Dialect, WireMessage, message
from events.ports import StateStore, Unavailable

log = structlog.get_logger("events")

#: How often the store is asked. A change cannot be missed that way, as a message about it could.
INTERVAL_S: Final = 1.0

#: Clients that are told in one step of the event loop.
AT_ONCE: Final = 200


class EmergencyWatch:
    """Reads the state from the store each second, so that every process knows it whatever it did not hear."""

    def __init__(self, hub: Hub, store: StateStore) -> None:
        self._hub = hub
        self._store = store

    async def run(self) -> None:
        """Watch, for ever. While the store is away, what it said last holds."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.debug("emergency_unknown", reason=str(error))
            await asyncio.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Read the state, and tell every client if it changed."""
        current = await self._store.emergency()
        before, self._hub.emergency = self._hub.emergency, current
        if current != before:
            log.warning("emergency_changed", was=before.state, now=current.state, reason=current.reason)
            await self._tell()

    async def _tell(self) -> None:
        body = notices.emergency(self._hub.emergency)
        ready: dict[Dialect, WireMessage] = {dialect: message(dialect, "emergency_state", body) for dialect in Dialect}
        for number, session in enumerate(list(self._hub.sessions.values())):
            session.emit_message(ready[session.dialect])
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
