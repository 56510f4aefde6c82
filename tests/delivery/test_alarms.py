"""Many deadlines on one timer."""

import asyncio
import math

import pytest
from structlog.testing import capture_logs

from events import alarms as module
from events.alarms import GRAIN_S, Alarms
from events.clients_last import CLIENT
from tests.fanout.support import until


class Clock:
    """Stands still until it is moved on."""

    time = 1_000.0

    def now(self) -> float:
        return self.time


class Client:
    """Notes when it is rung."""

    def __init__(self, alarms: Alarms, clock: Clock) -> None:
        self.alarm = 0
        self.rung: list[float] = []
        self._alarms, self._clock = alarms, clock

    def set(self, in_s: float) -> None:
        self._alarms.put(self, self._clock.time + in_s)

    def ring(self) -> None:
        self.rung.append(self._clock.time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alarms(clock: Clock) -> Alarms:
    return Alarms(clock.now)


def pass_time(alarms: Alarms, clock: Clock, seconds: float) -> None:
    """In steps in which nothing is late."""
    until_s = clock.time + seconds
    while clock.time < until_s:
        clock.time = min(until_s, clock.time + GRAIN_S)
        alarms.ring()


async def test_alarms_ring_in_order_once_and_never_before_their_time(alarms: Alarms, clock: Clock) -> None:
    clients = [Client(alarms, clock) for _ in range(200)]
    due = {client: 0.02 + number * 7 % 200 / 10 for number, client in enumerate(clients)}
    began = clock.time
    for client, in_s in due.items():
        client.set(in_s)
    pass_time(alarms, clock, 25)
    for client, in_s in due.items():
        assert len(client.rung) == 1
        assert 0 <= client.rung[0] - began - in_s <= 2 * GRAIN_S
        assert client.alarm == 0


async def test_one_timer_serves_all(alarms: Alarms, clock: Clock) -> None:
    for number in range(1_000):
        Client(alarms, clock).set(10 + number / 100)
    early = Client(alarms, clock)
    early.set(5)
    loop: object = asyncio.get_running_loop()
    timers = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert len(timers) == 1
    assert timers[0].when() - asyncio.get_running_loop().time() < 5 + GRAIN_S


async def test_an_alarm_that_is_set_again_or_cleared_does_not_ring(alarms: Alarms, clock: Clock) -> None:
    moved, cleared, never = (Client(alarms, clock) for _ in range(3))
    moved.set(1)
    moved.set(3)
    cleared.set(1)
    alarms.clear(cleared)
    alarms.clear(cleared)
    never.set(1)
    never.set(math.inf)
    assert alarms.time_of(moved) == pytest.approx(clock.time + 3, abs=GRAIN_S)
    assert alarms.time_of(cleared) == alarms.time_of(never) == math.inf
    pass_time(alarms, clock, 2)
    assert (moved.rung, cleared.rung, never.rung) == ([], [], [])
    pass_time(alarms, clock, 2)
    assert len(moved.rung) == 1


async def test_who_is_rung_may_set_and_clear_alarms(alarms: Alarms, clock: Clock) -> None:
    class Rival(Client):
        """Of two that are due together only one is rung."""

        other: "Rival"

        def ring(self) -> None:
            super().ring()
            alarms.clear(self.other)
            self.set(-1)

    one, two = Rival(alarms, clock), Rival(alarms, clock)
    one.other, two.other = two, one
    one.set(1)
    two.set(1)
    pass_time(alarms, clock, 1 + GRAIN_S)
    assert sorted((len(one.rung), len(two.rung))) == [0, 1]
    pass_time(alarms, clock, GRAIN_S)
    assert sorted((len(one.rung), len(two.rung))) == [0, 2], "a time that has passed means: as soon as possible"


async def test_what_one_breaks_harms_no_other(alarms: Alarms, clock: Clock) -> None:
    class Broken(Client):
        def ring(self) -> None:
            raise ValueError("on purpose")

    broken, whole = Broken(alarms, clock), Client(alarms, clock)
    broken.set(1)
    whole.set(1)
    with capture_logs() as entries:
        pass_time(alarms, clock, 1 + GRAIN_S)
    assert [entry["event"] for entry in entries] == ["alarm_failed"]
    assert len(whole.rung) == 1


async def test_alarms_that_ring_late_are_put_off_once(alarms: Alarms, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_UP_S", 0.05)
    client = Client(alarms, clock)
    client.set(1)
    clock.time += 60
    alarms.ring()
    assert client.rung == []
    await until(lambda: bool(client.rung))


async def test_the_timer_rings_by_itself_and_among_the_clients() -> None:
    loop = asyncio.get_running_loop()
    alarms = Alarms(loop.time)
    rung: list[tuple[float, bool]] = []

    class Real:
        alarm = 0

        def ring(self) -> None:
            rung.append((loop.time(), CLIENT.get()))

    began = loop.time()
    late, early = Real(), Real()
    alarms.put(late, began + 0.3)
    alarms.put(early, began + 0.1)
    await until(lambda: len(rung) == 2)
    assert [client for _, client in rung] == [True, True]
    assert rung[0][0] - began >= 0.1
    assert rung[1][0] - began >= 0.3
