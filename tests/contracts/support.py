"""What the contract suites share: a clock, events, and waiting for a condition."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import orjson

from events.domain.event import Event, EventLimits, parse_event
from events.ports import Append, BusReader, DeadLetter, History, Unavailable
from events.redis_link import Keys
from tests.redis_server import RedisServer

DEADLINE_S = 20.0

#: What the kernel has to say, as that a port is closed, comes within so long.
LULL_S: Final = 0.1

#: What the clocks of the suites say at first.
NOW = 1_000_000.0

#: Makes a history with limits of the test's choice.
Build = Callable[..., History]


class Clock:
    """Time that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def event(workflow: str = "w1", **fields: object) -> Event:
    """A valid event of a workflow; `bot_id` and `strategy_id` add topics."""
    common = {"type": "node_started", "execution_id": "x", "workflow_id": workflow, "timestamp": "2026-01-24T10:00:00Z"}
    return parse_event(orjson.dumps({**common, **fields}), EventLimits())


async def write(
    history: History,
    *events: Event,
    cursor: str = "",
    source: str = "stream",
    rejected: Sequence[DeadLetter] = (),
    fence: int = 1,
) -> Append:
    """Append at the place where the history is."""
    batch = Append(fence, await history.position(), source, cursor, events, rejected)
    await history.append(batch)
    return batch


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns once the condition holds; fails after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.01)


@contextmanager
def waits_skipped() -> Iterator[Callable[[], float]]:
    """Where nobody answers: when nothing has happened for a moment, the time of the event loop jumps to the end of its wait. It
    goes on in no other way.

    Yields a function that tells how many seconds that were: those that were asked for, however busy the machine is.
    """
    loop: Any = asyncio.get_running_loop()
    select, real, clock = loop._selector.select, loop.time, Clock(loop.time())
    began = clock.now

    def skip(timeout: float | None = None) -> Any:
        found = select(timeout if timeout is None else min(timeout, LULL_S))
        if not found and timeout:
            clock.now += timeout
        return found

    loop.time, loop._selector.select = clock, skip
    try:
        yield lambda: clock.now - began
    finally:
        ahead = clock.now - real()
        # It never goes back: what was set meanwhile is not late.
        loop.time, loop._selector.select = lambda: real() + ahead, select


async def says(reader: BusReader, reason: str, wait_s: float = 0.05) -> None:
    """Read until that is the trouble."""

    async def said() -> bool:
        try:
            await reader.read("", 100, wait_s)
        except Unavailable as error:
            return reason in str(error)
        return False

    await eventually(said)


async def hears_again(reader: BusReader, server: RedisServer, keys: Keys) -> None:
    """Publish until something comes out."""

    async def heard() -> bool:
        server.command("PUBLISH", keys.bus, "hello")
        try:
            return any(entry.document == b"hello" for entry in await reader.read("", 100, 0.05))
        except Unavailable:
            return False

    await eventually(heard)
