"""Places that parties get in turns."""

import asyncio

from events.places import Places
from tests.fanout.support import turns


class Queue:
    """Those who take a place, in the order in which they got one."""

    def __init__(self, places: int) -> None:
        self.places = Places(places)
        self.served: list[str] = []

    async def come(self, *names: str) -> list[asyncio.Task[None]]:
        """Each of the party that its first letter says."""
        tasks = [asyncio.create_task(self._take(name)) for name in names]
        await turns()
        return tasks

    async def _take(self, name: str) -> None:
        await self.places.take(name[0])
        self.served.append(name)

    async def leave(self, times: int = 1) -> None:
        for _ in range(times):
            self.places.leave()
        await turns()


async def test_parties_get_places_in_turns_however_many_of_one_wait() -> None:
    queue = Queue(2)
    await queue.come("a1", "a2", "a3", "a4", "a5", "b1", "c1", "b2")
    assert queue.served == ["a1", "a2"]
    await queue.leave(6)
    assert queue.served[2:] == ["a3", "b1", "c1", "a4", "b2", "a5"]


async def test_whoever_is_cancelled_has_no_place() -> None:
    queue = Queue(1)
    _, *waiting = await queue.come("a1", "a2", "b1", "a3")
    waiting[0].cancel()
    await turns()
    # In the same turn of the loop: before it is gone, and as it was given a place.
    waiting[1].cancel()
    queue.places.leave()
    await turns()
    assert queue.served == ["a1", "a3"]
    last, *_ = await queue.come("c1", "d1")
    queue.places.leave()
    last.cancel()
    await turns()
    assert queue.served == ["a1", "a3", "d1"]
    await queue.leave()
    await queue.come("e1", "e2")
    assert queue.served[3:] == ["e1"]
