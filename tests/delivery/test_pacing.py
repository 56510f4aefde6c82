"""How much is read in one turn of the event loop, and of whom."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.protocol import Protocol

from events import pacing
from events.clients_last import ClientsLastLoop
from events.pacing import PacedConnection, ReadingTurns
from events.turns import CROWD, Turns
from tests.delivery.test_websocket import tcp_pair
from tests.fanout.support import turns, until


class FakeConnection:
    """Takes `seconds` for each read, and notes in which turn of the loop that was."""

    def __init__(self, turns: ReadingTurns, loop: "Loop", seconds: float, *, new: bool = False, busy: bool = False) -> None:
        self.turns, self.loop, self.seconds, self.new, self.busy = turns, loop, seconds, new, busy
        self.read_in: list[int] = []

    def arrive(self) -> None:
        self.turns.wait(self)  # type: ignore[arg-type]

    def read_on(self) -> None:
        self.read_in.append(self.loop.turn)
        self.turns.spent(self.seconds)


class Loop:
    """Counts the turns of the running event loop."""

    def __init__(self) -> None:
        self.turn = 0

    async def go_on(self, turns: int) -> None:
        for _ in range(turns):
            self.turn += 1
            await asyncio.sleep(0)


async def test_a_turn_ends_when_its_time_is_used_up_and_nobody_is_forgotten() -> None:
    turns, loop = ReadingTurns(), Loop()
    clients = [FakeConnection(turns, loop, pacing.READ_S / 2) for _ in range(8)]
    for client in clients:
        client.arrive()
    assert turns.over
    await loop.go_on(8)
    read = [client.read_in for client in clients]
    assert all(len(once) == 1 for once in read)
    assert read == sorted(read), "first come first served"
    assert Counter(once[0] for once in read).most_common(1)[0][1] == 2
    assert not turns.over


async def test_of_many_that_wait_an_eighth_is_read_in_a_turn_within_a_limit() -> None:
    turns, loop = ReadingTurns(), Loop()
    cheap = [FakeConnection(turns, loop, pacing.MOST_S / 16) for _ in range(80)]
    for client in cheap:
        client.arrive()
    await loop.go_on(1)
    assert sum(bool(client.read_in) for client in cheap) == 10
    await loop.go_on(100)
    dear = [FakeConnection(turns, loop, pacing.MOST_S) for _ in range(80)]
    for client in dear:
        client.arrive()
    await loop.go_on(1)
    assert sum(bool(client.read_in) for client in dear) == 1


async def test_those_that_only_come_and_those_that_are_busy_do_not_hold_up_the_others() -> None:
    turns, loop = ReadingTurns(), Loop()
    crowd = [FakeConnection(turns, loop, pacing.READ_S, new=number % 2 == 0, busy=number % 2 == 1) for number in range(40)]
    for client in crowd:
        client.arrive()
    quiet = FakeConnection(turns, loop, pacing.READ_S)
    quiet.arrive()
    await loop.go_on(1)
    assert quiet.read_in
    assert sum(len(client.read_in) for client in crowd) == 1
    await loop.go_on(42)
    assert all(client.read_in for client in crowd)


async def test_of_a_crowd_that_comes_at_once_more_are_read_in_a_turn_within_the_limit() -> None:
    turns, loop = ReadingTurns(), Loop()
    cheap = [FakeConnection(turns, loop, 0.0, new=True) for _ in range(2 * CROWD)]
    for client in cheap:
        client.arrive()
    await loop.go_on(1)
    assert sum(bool(client.read_in) for client in cheap) == 3
    await loop.go_on(200)
    dear = [FakeConnection(turns, loop, pacing.MOST_S, new=True) for _ in range(2 * CROWD)]
    for client in dear:
        client.arrive()
    await loop.go_on(1)
    assert sum(bool(client.read_in) for client in dear) == 1


def test_where_clients_stand_in_a_line_only_those_that_come_and_those_that_are_busy_wait() -> None:
    async def deferred() -> list[bool]:
        turns, loop = ReadingTurns(), Loop()
        quiet, new, busy = (
            FakeConnection(turns, loop, 0.0, new=new, busy=busy) for new, busy in ((False, False), (True, False), (False, True))
        )
        turns.spent(pacing.MOST_S)
        alone = turns.defers(new)  # type: ignore[arg-type]
        FakeConnection(turns, loop, 0.0, new=True).arrive()
        return [alone, *(turns.defers(each) for each in (quiet, new, busy))]  # type: ignore[arg-type]

    line = ClientsLastLoop()
    try:
        assert line.run_until_complete(deferred()) == [False, False, True, True]
    finally:
        line.close()
    assert asyncio.run(deferred()) == [True, True, True, True]


class Reading(Protocol):
    """Notes what is read, and whether the loop had been asked to tell of it."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.read: list[tuple[bytes, bool]] = []

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self.read.append((data, self.transport in self.reactor.getReaders()))


async def test_what_is_there_of_a_new_connection_is_read_before_the_loop_is_asked() -> None:
    reactor: Any = AsyncioSelectorReactor(asyncio.get_running_loop())
    reading, port = Reading(reactor), SimpleNamespace(_realPortNumber=0, factory=SimpleNamespace(turns=ReadingTurns()))
    ours, theirs = tcp_pair()
    with ours, theirs:
        theirs.send(b"first")
        untyped: Any = PacedConnection
        reading.transport = untyped(ours, reading, ("127.0.0.1", 1234), port, 1, reactor)
        await until(lambda: reading.read)
        assert reading.read == [(b"first", False)]
        await turns()
        theirs.send(b"second")
        await until(lambda: len(reading.read) == 2)
        assert reading.read[1] == (b"second", True)
        reactor.removeAll()


async def test_of_a_new_connection_over_which_nothing_has_come_the_loop_tells() -> None:
    reactor: Any = AsyncioSelectorReactor(asyncio.get_running_loop())
    reading, port = Reading(reactor), SimpleNamespace(_realPortNumber=0, factory=SimpleNamespace(turns=ReadingTurns()))
    ours, theirs = tcp_pair()
    with ours, theirs:
        untyped: Any = PacedConnection
        reading.transport = untyped(ours, reading, ("127.0.0.1", 1234), port, 1, reactor)
        await turns()
        theirs.send(b"late")
        await until(lambda: reading.read)
        assert reading.read == [(b"late", True)]
        reactor.removeAll()


class Beginners:
    """So many who each want to begin."""

    def __init__(self, number: int) -> None:
        self.turns, self.loop = Turns(), Loop()
        self.begun: list[tuple[int, int]] = []
        self.tasks = [asyncio.create_task(self._begin(place)) for place in range(number)]

    async def _begin(self, place: int) -> None:
        await self.turns.take()
        self.begun.append((self.loop.turn, place))

    def per_turn(self) -> list[int]:
        return [count for _, count in sorted(Counter(turn for turn, _ in self.begun).items())]


async def test_one_begins_in_a_turn_in_the_order_in_which_they_came() -> None:
    few = Beginners(6)
    await few.loop.go_on(12)
    assert [place for _, place in few.begun] == list(range(6))
    assert max(few.per_turn()) == 1


async def test_of_a_crowd_more_begin_in_a_turn() -> None:
    many = Beginners(3 * CROWD)
    await many.loop.go_on(4 * CROWD)
    assert [place for _, place in many.begun] == list(range(3 * CROWD))
    assert max(many.per_turn()) == 3


async def test_who_gives_up_waiting_costs_nobody_a_turn() -> None:
    several = Beginners(3)
    await asyncio.sleep(0)
    first, second, third = several.tasks
    second.cancel()
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    assert first.done()
    async with asyncio.timeout(5):
        await several.turns.take()
        await several.turns.take()
