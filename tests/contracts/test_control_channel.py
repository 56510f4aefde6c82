"""`events.ports.ControlChannel` on memory and on Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from events.control_channel.memory import MemoryControlChannel
from events.control_channel.redis import MAX_WAITING, RedisControlChannel
from events.ports import CarryOut, ControlChannel, ControlReply, ControlRequest, Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import eventually
from tests.redis_server import RedisServer

REQUEST = ControlRequest("notice", "s1", {"message": 'é🎉 "quoted"', "level": "info"})

#: For requests that are answered, and for those that nobody hears.
LONG_S, SHORT_S = 20.0, 0.1


class Desk:
    """Keeps what it is asked, and answers with it."""

    def __init__(self) -> None:
        self.asked: list[ControlRequest] = []

    def __call__(self, request: ControlRequest) -> ControlReply:
        self.asked.append(request)
        return ControlReply("done", "as told", {"sid": request.sid, "asked": [1, None, {"a": "b"}]})


@pytest.fixture(params=["memory", "redis"])
def channel(request: pytest.FixtureRequest, link: RedisLink, keys: Keys) -> ControlChannel:
    return MemoryControlChannel() if request.param == "memory" else RedisControlChannel(link, keys)


@asynccontextmanager
async def serving(channel: ControlChannel, process: str, carry_out: CarryOut) -> AsyncIterator[None]:
    task = asyncio.create_task(channel.serve(process, carry_out))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_request_arrives_whole_and_so_does_its_reply(channel: ControlChannel) -> None:
    desk = Desk()
    async with serving(channel, "p1", desk):
        reply = await channel.ask("p1", REQUEST, LONG_S)
    assert desk.asked == [REQUEST]
    assert reply == ControlReply("done", "as told", {"sid": "s1", "asked": [1, None, {"a": "b"}]})


async def test_each_process_gets_its_own_requests(channel: ControlChannel) -> None:
    one, two = Desk(), Desk()
    async with serving(channel, "p1", one), serving(channel, "p2", two):
        requests = [(f"p{number % 2 + 1}", ControlRequest("describe", f"s{number}")) for number in range(10)]
        replies = await asyncio.gather(*(channel.ask(process, request, LONG_S) for process, request in requests))
    assert [reply.data["sid"] for reply in replies] == [request.sid for _, request in requests]
    assert {request.sid for request in one.asked} == {f"s{number}" for number in range(0, 10, 2)}
    assert len(two.asked) == 5


async def test_a_process_that_does_not_listen_is_unheard_and_never_acts_late(channel: ControlChannel) -> None:
    assert (await channel.ask("p1", REQUEST, SHORT_S)).outcome == "unheard"
    desk = Desk()
    async with serving(channel, "p1", desk):
        await channel.ask("p1", ControlRequest("describe", "later"), LONG_S)
    assert [request.sid for request in desk.asked] == ["later"]


async def test_on_redis_a_call_that_was_lost_is_made_again_and_carried_out_once(link: RedisLink, keys: Keys) -> None:
    channel, desk = RedisControlChannel(link, keys), Desk()
    asking = asyncio.create_task(channel.ask("p1", REQUEST, 4.0))
    # As when the connection that fetches it breaks.
    assert await link.call_blocking(LONG_S, "BLPOP", keys.control("p1"), LONG_S)
    async with serving(channel, "p1", desk):
        assert (await asking).outcome == "done"
        await channel.ask("p1", ControlRequest("describe", "later"), LONG_S)
    assert [request.sid for request in desk.asked] == ["s1", "later"]


async def test_on_redis_a_request_that_was_taken_and_not_answered_is_unknown(link: RedisLink, keys: Keys) -> None:
    channel = RedisControlChannel(link, keys)
    asking = asyncio.create_task(channel.ask("p1", REQUEST, 2.0))
    found = await link.call_blocking(LONG_S, "BLPOP", keys.control("p1"), LONG_S)
    assert await link.call("GETDEL", keys.control_request(found[1].decode()))
    assert (await asking).outcome == "unknown"


async def test_on_redis_requests_that_wait_are_bounded_and_leave_nothing_behind(link: RedisLink, keys: Keys) -> None:
    channel = RedisControlChannel(link, keys)
    await asyncio.gather(*(channel.ask("p1", REQUEST, SHORT_S) for _ in range(3)))
    waiting = [("RPUSH", keys.control("p1"), *range(3 * MAX_WAITING))]
    await link.pipeline(waiting)
    await channel.ask("p1", REQUEST, SHORT_S)
    assert await link.call("LLEN", keys.control("p1")) <= MAX_WAITING
    await eventually(lambda: _nothing_left(link, keys))


async def _nothing_left(link: RedisLink, keys: Keys) -> bool:
    return not await link.call("KEYS", f"{keys.prefix}:control*")


async def test_on_redis_trouble_is_unavailable_and_passes(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    channel, desk = RedisControlChannel(own_link, keys), Desk()
    async with serving(channel, "p1", desk):
        assert (await channel.ask("p1", REQUEST, LONG_S)).outcome == "done"
        own_redis.kill()
        with pytest.raises(Unavailable):
            await channel.ask("p1", REQUEST, LONG_S)
        own_redis.start()
        await eventually(lambda: _answers(channel))


async def _answers(channel: ControlChannel) -> bool:
    return (await channel.ask("p1", REQUEST, LONG_S)).outcome == "done"
