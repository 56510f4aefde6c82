"""Places for those who want to work at the same time, given to parties in turns."""

import asyncio
from collections import OrderedDict, deque


class Places:
    """At most `places` are taken at a time. When one is left, the party that waits for longest gets it, for the first of its
    own, and then stands behind all other parties: however many of one party wait, another one waits for each party once."""

    def __init__(self, places: int) -> None:
        self._free = places
        # A party is there for as long as one of its own waits.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, party: str) -> None:
        """Wait for a place; `leave` is to be called once. Whoever is cancelled meanwhile has none."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(party, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(party, turn)
            raise

    def leave(self) -> None:
        """A place that was taken is free, or somebody's who waits."""
        while self._waiting:
            party, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[party] = turns
            # One that was cancelled in this turn of the loop has not gone yet.
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _give_up(self, party: str, turn: "asyncio.Future[None]") -> None:
        if not turn.cancelled():
            # It was given a place just as it was cancelled.
            self.leave()
            return
        turns = self._waiting.get(party)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[party]
