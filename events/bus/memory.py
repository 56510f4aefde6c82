"""The event bus within one process."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice

from events.bus.waiting import wait_for
from events.domain.sizes import READ_BYTES, count_within
from events.ports import BusEntry, BusGap, Queue, Unavailable


class MemoryBus:
    """Keeps documents until the relay has read past them.

    Bounded: when `events` documents wait for the relay, publishing is refused with `Unavailable`, so that nothing that was
    accepted is lost. Lives on one event loop.
    """

    def __init__(self, events: int) -> None:
        self._events = events
        #: Number, document (None for a canary), and when it came.
        self._waiting: deque[tuple[int, bytes | None, float]] = deque()
        self._published = 0
        self._arrived = asyncio.Event()

    async def publish(self, documents: Sequence[bytes]) -> list[str]:
        """All of the documents or, when there is no room for them, none."""
        return self._add(documents)

    async def publish_canary(self, *, trim: bool) -> None:
        """Nothing is ever trimmed here."""
        self._add([None])

    def _add(self, documents: Sequence[bytes | None]) -> list[str]:
        if len(self._waiting) + len(documents) > self._events:
            raise Unavailable(f"The memory bus is full: {len(self._waiting)} of {self._events} events wait for the relay.")
        first = self._published + 1
        now = time.time()
        self._waiting.extend((number, document, now) for number, document in enumerate(documents, first))
        self._published += len(documents)
        self._arrived.set()
        return [f"{number}-0" for number in range(first, self._published + 1)]

    async def close(self) -> None:
        """Nothing to close."""

    async def fill(self) -> dict[str, Queue]:
        """Nothing but what waits for the relay: `queue`."""
        return {}

    def queue(self) -> Queue:
        """What waits for the relay."""
        return Queue(self._events, len(self._waiting))

    def reader(self) -> "MemoryBusReader":
        """The relay's input. There can be one: what it has read past is gone."""
        return MemoryBusReader(self)

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        """As `BusReader.read`; forgets the documents up to the cursor."""
        self._forget(int(cursor.partition("-")[0] or 0))
        if not self._waiting:
            self._arrived.clear()
            await wait_for(self._arrived, wait_s)
        count = count_within((len(document or b"") for _, document, _ in islice(self._waiting, limit)), READ_BYTES)
        return [
            BusEntry(f"{number}-0", document or b"", at, canary=document is None)
            for number, document, at in islice(self._waiting, count)
        ]

    def _forget(self, read: int) -> None:
        while self._waiting and self._waiting[0][0] <= read:
            self._waiting.popleft()


class MemoryBusReader:
    """The relay's input from a `MemoryBus`."""

    name = "memory"
    durable = True
    reads_ahead = False

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        """Entries are forgotten once a later read's cursor has passed them."""
        return await self._bus.read(cursor, limit, wait_s)

    def gaps(self) -> list[BusGap]:
        """Always empty: nothing that was accepted is lost while the process lives."""
        return []

    def queue(self) -> Queue:
        """Nothing is ever dropped: a full bus refuses new documents instead."""
        return self._bus.queue()

    async def close(self) -> None:
        """Nothing to close."""
