"""Reads the recent buffers of topics that clients open, many at a time."""

import asyncio
from collections.abc import Sequence
from typing import Final

from events.domain.sizes import PAGE_BYTES
from events.ports import History, Recent, Unavailable

#: Topics of one read. What they hold is read in one step of the event loop, in which nothing else happens.
MOST: Final = 16


class RecentReader:
    """One read at a time: topics that are asked for meanwhile share the next one.

    A storm of subscriptions to thousands of topics would otherwise wait for connections to the store, until some of them took
    it for gone.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._turn = asyncio.Lock()
        self._asked: dict[asyncio.Future[Recent], str] = {}
        self._most = MOST

    async def read(self, name: str) -> Recent:
        """The recent buffer of one topic. Raises `Unavailable`."""
        answer: asyncio.Future[Recent] = asyncio.get_running_loop().create_future()
        self._asked[answer] = name
        try:
            async with self._turn:
                # Whoever had the turn before may have read it along.
                while not answer.done():
                    await self._read_some()
            return answer.result()
        finally:
            self._asked.pop(answer, None)

    async def _read_some(self) -> None:
        """Read what was asked for first. When whoever reads goes away meanwhile, the next one reads it."""
        asked = list(self._asked.items())[: self._most]
        try:
            found = await self._history.recent([name for _, name in asked])
        except Unavailable as error:
            for answer, _ in asked:
                answer.set_exception(error)
                answer.exception()
        else:
            self._learn(found)
            for (answer, _), recent in zip(asked, found, strict=True):
                answer.set_result(recent)
        for answer, _ in asked:
            self._asked.pop(answer, None)

    def _learn(self, found: Sequence[Recent]) -> None:
        """Ask for fewer at once while there is much in them."""
        size = sum(len(entry.document) for recent in found for entry in recent.entries)
        self._most = max(1, self._most // 2) if size > PAGE_BYTES else min(MOST, 2 * self._most)
