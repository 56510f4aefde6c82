"""How much of something begins in one turn of the event loop."""

import asyncio


class Turns:
    """Lets so many begin in each turn of the loop; the others wait, first come first served."""

    def __init__(self, per_turn: int) -> None:
        self._places = asyncio.Semaphore(per_turn)

    async def take(self) -> None:
        """Returns when it is the caller's turn: at once while few want one."""
        await self._places.acquire()
        # What the loop is asked to call soon, it calls in its next turn.
        asyncio.get_running_loop().call_soon(self._places.release)
