"""`events.ports.Lease` on memory and on Redis."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from events.lease.memory import MemoryLease
from events.lease.redis import RedisLease
from events.ports import Lease, Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import Clock, eventually
from tests.redis_server import RedisServer


@dataclass
class Leased:
    """A lease, and how its time passes: on memory by setting the clock, on Redis by waiting for it."""

    lease: Lease
    pass_time: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
def leased(request: pytest.FixtureRequest, link: RedisLink, keys: Keys) -> Leased:
    if request.param == "memory":
        clock = Clock(100.0)

        async def advance(seconds: float) -> None:
            clock.now += seconds

        return Leased(MemoryLease(clock), advance)

    lease = RedisLease(link, keys)

    async def wait(seconds: float) -> None:
        await eventually(lambda: _is_free(lease))

    return Leased(lease, wait)


async def _is_free(lease: Lease) -> bool:
    return await lease.holder() is None


async def test_one_owner_at_a_time(leased: Leased) -> None:
    lease = leased.lease
    assert await lease.holder() is None
    assert await lease.acquire("one", 60) is not None
    assert await lease.acquire("two", 60) is None
    assert await lease.acquire("one", 60) is None
    assert await lease.holder() == "one"


async def test_tokens_grow_whoever_takes_it(leased: Leased) -> None:
    tokens = []
    for owner in ("one", "two", "one", "one"):
        tokens.append(await leased.lease.acquire(owner, 60))
        await leased.lease.release(owner)
    assert all(isinstance(token, int) for token in tokens)
    assert tokens == sorted(set(tokens), key=lambda token: token or 0)


async def test_it_expires_and_the_next_token_is_larger(leased: Leased) -> None:
    lease = leased.lease
    first = await lease.acquire("one", 0.05)
    await leased.pass_time(0.05)
    assert await lease.renew("one", 60) is False
    second = await lease.acquire("two", 60)
    assert first is not None
    assert second is not None
    assert second > first
    assert await lease.renew("one", 60) is False
    assert await lease.holder() == "two"


async def test_renewing_prolongs_it(leased: Leased) -> None:
    lease = leased.lease
    await lease.acquire("one", 60)
    assert await lease.renew("one", 0.05) is True
    await leased.pass_time(0.05)
    assert await lease.holder() is None


async def test_only_the_owner_gives_it_back(leased: Leased) -> None:
    lease = leased.lease
    await lease.acquire("one", 60)
    await lease.release("two")
    assert await lease.holder() == "one"
    assert await lease.renew("two", 60) is False
    await lease.release("one")
    assert await lease.holder() is None
    await lease.release("one")
    assert await lease.acquire("two", 60) is not None


async def test_on_redis_tokens_grow_past_a_flush_and_a_clock_that_went_back(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys
) -> None:
    lease = RedisLease(own_link, keys)
    before = await lease.acquire("one", 60)
    own_redis.command("FLUSHALL")
    # Tokens are milliseconds, and this machine may do all that within one.
    await eventually(lambda: _is_past(own_redis, before or 0))
    after = await lease.acquire("two", 60)
    assert before is not None
    assert after is not None
    assert after > before
    await lease.release("two")
    own_redis.command("SET", keys.fence, after + 10**9)
    assert await lease.acquire("three", 60) == after + 10**9 + 1


async def _is_past(server: RedisServer, token: int) -> bool:
    seconds, microseconds = server.command("TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000 > token


async def test_on_redis_trouble_is_unavailable(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    lease = RedisLease(own_link, keys)
    await lease.acquire("one", 60)
    own_redis.kill()
    for call in (lease.acquire("two", 60), lease.renew("one", 60), lease.release("one"), lease.holder()):
        with pytest.raises(Unavailable):
            await call
