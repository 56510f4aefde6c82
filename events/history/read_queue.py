"""Reads of much history, a few at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from events.ports import Unavailable

#: Reads at once. There are more connections than that, so that whoever reads little finds one.
AT_ONCE: Final = 8

#: How long a read waits for its turn.
WAIT_S: Final = 10.0


class ReadQueue:
    """First come, first served.

    When thousands of clients resume, reads wait for each other for longer than a command may wait for a connection: that would
    be taken for an outage.
    """

    def __init__(self, where: str) -> None:
        """`where` names the store."""
        self._where = where
        self._places = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises `Unavailable` when it does not come within `WAIT_S`."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable(f"{self._where} was busy with other reads of the history for {WAIT_S:g} s") from None
        try:
            yield
        finally:
            self._places.release()
