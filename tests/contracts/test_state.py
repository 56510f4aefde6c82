"""`events.ports.StateStore` on memory and on Redis."""

import time

import pytest

from events.ports import Emergency, StateStore, Unavailable
from events.redis_link import Keys, RedisLink
from events.state.memory import MemoryStateStore
from events.state.redis import RedisStateStore
from tests.redis_server import RedisServer


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, link: RedisLink, keys: Keys) -> StateStore:
    return MemoryStateStore() if request.param == "memory" else RedisStateStore(link, keys)


async def test_a_store_that_serves_answers(store: StateStore) -> None:
    await store.ping()


async def test_the_state_is_normal_until_it_is_set(store: StateStore) -> None:
    assert await store.emergency() == Emergency("normal", "")
    for emergency in (Emergency("halt", "exchange down 🎉", 1_769_248_800.25), Emergency("alert"), Emergency("normal", "over")):
        await store.set_emergency(emergency)
        assert await store.emergency() == emergency


async def test_on_redis_all_processes_see_it(link: RedisLink, keys: Keys) -> None:
    await RedisStateStore(link, keys).set_emergency(Emergency("shutdown", "why"))
    assert await RedisStateStore(link, keys).emergency() == Emergency("shutdown", "why")


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "has no memory left"),
        (("REPLICAOF", "127.0.0.1", "1"), "is a read-only replica"),
        (("CONFIG", "SET", "requirepass", "secret"), None),
    ],
    ids=["full", "replica", "password"],
)
async def test_on_redis_ping_notices_what_only_writing_shows(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys, trouble: tuple[str, ...], reason: str | None
) -> None:
    store = RedisStateStore(own_link, keys)
    if reason:
        await store.ping()
    own_redis.command(*trouble)
    with pytest.raises(Unavailable, match=reason or "refuses the user name or password"):
        await store.ping()


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
async def test_on_redis_ping_fails_within_seconds_and_works_again(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys, trouble: str
) -> None:
    store = RedisStateStore(own_link, keys)
    await store.ping()
    (own_redis.kill if trouble == "killed" else own_redis.pause)()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await store.ping()
    assert time.monotonic() - began < 3.5
    (own_redis.start if trouble == "killed" else own_redis.resume)()
    await store.ping()
