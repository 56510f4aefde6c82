"""How much of something begins in one turn of the event loop."""

import asyncio
from collections import deque
from typing import Final

#: One more begins in a turn for each so many that wait: after a deploy thousands want to begin at once.
CROWD: Final = 64


def places(waiting: int) -> int:
    """How many of those that wait may begin in this turn."""
    return 1 + waiting // CROWD


class Turns:
    """Lets one begin in each turn of the loop, and a few when many wait; the others wait, first come first served."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._begun = False

    async def take(self) -> None:
        """Returns when it is the caller's turn: at once when nobody has begun in this one."""
        loop = asyncio.get_running_loop()
        if not self._begun:
            self._begun = True
            # What the loop is asked to call soon, it calls in its next turn.
            loop.call_soon(self._next, loop)
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        left = places(len(self._waiting))
        while self._waiting and left:
            turn = self._waiting.popleft()
            # Who gave up takes no place.
            if not turn.done():
                turn.set_result(None)
                left -= 1
        self._begun = left == 0 or bool(self._waiting)
        if self._begun:
            loop.call_soon(self._next, loop)
