"""Shared state within one process."""

from events.ports import Emergency


class MemoryStateStore:
    """Always serves."""

    def __init__(self) -> None:
        self._emergency = Emergency()

    async def ping(self) -> None:
        """Never raises."""

    async def emergency(self) -> Emergency:
        return self._emergency

    async def set_emergency(self, emergency: Emergency) -> None:
        self._emergency = emergency

    async def close(self) -> None:
        """Nothing to close."""
