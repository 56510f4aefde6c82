"""The lease within one process."""

import time
from collections.abc import Callable


class MemoryLease:
    """`clock` gives seconds from any beginning."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._owner: str | None = None
        self._until = 0.0
        self._fence = 0

    async def acquire(self, owner: str, ttl_s: float) -> int | None:
        """As the port says; also the holder itself gets None."""
        if await self.holder() is not None:
            return None
        self._owner = owner
        self._until = self._clock() + ttl_s
        self._fence += 1
        return self._fence

    async def renew(self, owner: str, ttl_s: float) -> bool:
        if await self.holder() != owner:
            return False
        self._until = self._clock() + ttl_s
        return True

    async def release(self, owner: str) -> None:
        if await self.holder() == owner:
            self._owner = None

    async def holder(self) -> str | None:
        return self._owner if self._clock() < self._until else None
