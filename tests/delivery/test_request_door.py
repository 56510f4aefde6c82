"""How many requests of one address are worked on at once."""

import asyncio
import json
from typing import Any

import pytest

from events.request_door import ADDRESSES, CROWDED, LOGINS, RequestDoor
from tests.fanout.support import turns

ADDRESS = "192.0.2.1"


class Work:
    """An application that works on each request, once it is there, until it is told to end, well or with an error."""

    def __init__(self) -> None:
        self.under_way: list[asyncio.Future[None]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.under_way.append(end)
        try:
            await end
        finally:
            self.under_way.remove(end)
        if scope["path"] == "/slowly":
            await send({"type": "http.response.start"})
            await asyncio.get_running_loop().create_future()


class Visitors:
    """A door with work behind it, and those who come to it."""

    def __init__(self, per_address: int) -> None:
        self.refusals: list[str] = []
        self.work = Work()
        self.door = RequestDoor(self.work, per_address, self.refusals.append)

    async def come(self, *addresses: str, path: str = "/") -> list[asyncio.Task[list[dict[str, Any]]]]:
        """Requests, and what the door itself answers to each in the end. To `/arriving` comes a body that does not end; the
        answer of `/slowly` begins when the work has ended, and does not end."""
        tasks = [asyncio.create_task(self._ask(address, path)) for address in addresses]
        await turns()
        return tasks

    async def _ask(self, address: str, path: str) -> list[dict[str, Any]]:
        answered: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            answered.append(message)

        async def receive() -> dict[str, Any]:
            if path == "/arriving":
                await asyncio.get_running_loop().create_future()
            return {"type": "http.request", "body": b""}

        await self.door({"type": "http", "path": path, "client": (address, 1)}, receive, send)
        return answered

    async def end(self, error: Exception | None = None) -> None:
        """End the oldest work."""
        if error is None:
            self.work.under_way[0].set_result(None)
        else:
            self.work.under_way[0].set_exception(error)
        await turns()

    async def end_all(self) -> None:
        while self.work.under_way:
            await self.end()
        # Nothing is remembered of those who are gone.
        assert self.door._parties == {}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr("events.request_door.PATIENCE_S", 600.0)
    monkeypatch.setattr("events.request_door.PATIENCE_WITH_ALL_S", 600.0)


@pytest.fixture
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.request_door.PATIENCE_S", 0.0)
    monkeypatch.setattr("events.request_door.PATIENCE_WITH_ALL_S", 0.0)


async def told(refused: asyncio.Task[list[Any]]) -> str:
    """What one that is to come again is told."""
    start, body = await refused
    assert start["status"] == 429
    assert (b"retry-after", b"1") in start["headers"]
    message: str = json.loads(body["body"])["message"]
    return message


@pytest.mark.usefixtures("impatient")
async def test_one_too_many_is_told_when_to_come_again_and_others_are_welcome() -> None:
    visitors = Visitors(2)
    *_, refused = await visitors.come(*[ADDRESS] * 3)
    assert "WS_MAX_REQUESTS_PER_ADDRESS" in await told(refused)
    await visitors.come("192.0.2.2")
    assert len(visitors.work.under_way) == 3
    assert visitors.refusals == ["requests"]
    await visitors.end_all()


async def test_one_too_many_waits_for_its_turn() -> None:
    visitors = Visitors(1)
    tasks = await visitors.come(*[ADDRESS] * 3)
    for done in (0, 1, 2):
        assert [task.done() for task in tasks] == [number < done for number in range(3)]
        assert len(visitors.work.under_way) == 1
        await visitors.end()
    assert visitors.refusals == []
    await visitors.end_all()


async def test_there_is_room_again_when_the_work_fails() -> None:
    visitors = Visitors(1)
    failing, _ = await visitors.come(ADDRESS, ADDRESS)
    await visitors.end(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await failing
    assert len(visitors.work.under_way) == 1
    await visitors.end_all()


async def test_who_is_given_up_while_it_waits_takes_no_place() -> None:
    visitors = Visitors(1)
    _, waiting, last = await visitors.come(*[ADDRESS] * 3)
    waiting.cancel()
    await visitors.end()
    assert not last.done()
    assert len(visitors.work.under_way) == 1
    await visitors.end_all()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", ""])
async def test_this_machine_and_who_has_no_address_are_not_limited(address: str) -> None:
    visitors = Visitors(1)
    await visitors.come(*[address] * 5)
    assert len(visitors.work.under_way) == 5
    await visitors.end_all()


@pytest.mark.usefixtures("impatient")
async def test_an_ipv6_network_is_one_address() -> None:
    visitors = Visitors(1)
    _, refused = await visitors.come("2001:db8::1", "2001:db8::2")
    assert (await refused)[0]["status"] == 429
    await visitors.end_all()


def others(number: int) -> list[str]:
    """So many addresses."""
    return [f"198.51.100.{last}" for last in range(1, number + 1)]


@pytest.mark.usefixtures("impatient")
async def test_all_addresses_together_have_places_of_each_kind() -> None:
    visitors = Visitors(1)
    *_, refused = await visitors.come(*others(ADDRESSES + 1))
    assert await told(refused) == CROWDED
    await visitors.come(*others(ADDRESSES), path="/admin/")
    assert len(visitors.work.under_way) == ADDRESSES
    # Neither who publishes nor who asks for health waits for those.
    await visitors.come("192.0.2.1", path="/api/events")
    await visitors.come("192.0.2.2", path="/health/ready")
    await visitors.come("127.0.0.1")
    assert len(visitors.work.under_way) == ADDRESSES + 3
    await visitors.come(*others(ADDRESSES + LOGINS + 1)[ADDRESSES:], path="/admin/login/")
    assert len(visitors.work.under_way) == ADDRESSES + 3 + LOGINS
    await visitors.end_all()


@pytest.mark.usefixtures("impatient")
async def test_who_sends_or_reads_slowly_has_none_of_the_places_of_all() -> None:
    visitors = Visitors(1)
    slow = await visitors.come(*others(2 * ADDRESSES)[ADDRESSES:], path="/arriving")
    reading = await visitors.come(*others(ADDRESSES), path="/slowly")
    for _ in reading:
        await visitors.end()
    await visitors.come("192.0.2.1")
    assert len(visitors.work.under_way) == 1
    for task in (*slow, *reading):
        task.cancel()
    await turns()


class Reading(Work):
    """Answers at once. What goes on is that the clients read."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = await receive()
        await send({"type": "http.response.start"})

        async def again() -> Any:
            return request

        await super().__call__(scope, again, send)


class Answering(Visitors):
    """Those whose requests are answered at once, and who read the answers slowly."""

    def __init__(self, per_address: int) -> None:
        super().__init__(per_address)
        self.work = Reading()
        self.door = RequestDoor(self.work, per_address, self.refusals.append)


async def test_who_is_slow_to_read_keeps_nobody_waiting_unless_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.request_door.ANSWERS", 2)
    visitors = Answering(1)
    # Two read, one holds the place while it reads, and one waits for that.
    tasks = await visitors.come(*[ADDRESS] * 4)
    assert len(visitors.work.under_way) == 3
    await visitors.end()
    assert len(visitors.work.under_way) == 2, "who holds the place keeps it"
    await visitors.end()
    await visitors.end()
    assert len(visitors.work.under_way) == 1
    await visitors.end_all()
    assert all(task.done() for task in tasks)


async def test_places_are_given_back_once() -> None:
    visitors = Answering(1)
    await visitors.come(*[ADDRESS] * 3)
    assert len(visitors.work.under_way) == 3
    while len(visitors.work.under_way) > 1:
        await visitors.end(ValueError("a bug"))
    assert visitors.door._parties[ADDRESS].places._value == 1
    await visitors.end_all()
