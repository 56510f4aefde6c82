"""`events.ports.StateStore` on memory and on Redis."""

import time
from dataclasses import replace
from typing import Any

import pytest

from events.ports import MAX_WORKFLOWS, SAMPLES_AGE_S, Emergency, Sample, StateStore, Unavailable
from events.redis_link import Keys, RedisLink
from events.state.memory import MemoryStateStore
from events.state.redis import RedisStateStore
from tests.contracts.support import Clock, waits_skipped
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


async def test_durations_are_added_to_those_that_are_remembered(store: StateStore) -> None:
    await store.keep_durations({})
    assert await store.durations([]) == {}
    await store.keep_durations({"w1": {"a": [1.0, 2.0]}, "wé": {"b": [0.25]}})
    await store.keep_durations({"w1": {"a": [3.0], "c": [4.0]}})
    assert await store.durations(["wé", "w1", "none"]) == {"wé": {"b": [0.25]}, "w1": {"a": [1.0, 2.0, 3.0], "c": [4.0]}}


async def test_workflows_that_were_silent_for_longest_are_forgotten(link: RedisLink, keys: Keys) -> None:
    clock = Clock(1.0)
    for store in (MemoryStateStore(clock), RedisStateStore(link, keys, clock)):
        names = [f"w{number}" for number in range(MAX_WORKFLOWS)]
        await store.keep_durations({name: {"a": [1.0]} for name in names})
        clock.now += 1
        await store.keep_durations({names[0]: {"a": [2.0]}, "new": {"a": [1.0]}})
        kept = await store.durations([*names, "new"])
        assert len(kept) == MAX_WORKFLOWS
        assert {names[0], "new"} < set(kept)


def sample(process: str, **fields: Any) -> Sample:
    plain = Sample(process, "server", 1_769_248_800.25, 10.0, 3, 1, 5, 7, 2, None, [0, 4, 1])
    return replace(plain, **fields)


async def test_samples_come_back_whole_and_in_order(store: StateStore) -> None:
    assert await store.samples() == []
    samples = [sample(f"p{number}", relay_lag_s=number / 4) for number in range(1_100)]
    for each in samples:
        await store.add_sample(each)
    assert await store.samples() == samples


async def test_samples_are_kept_for_an_hour(link: RedisLink, keys: Keys) -> None:
    clock = Clock(time.time())
    for store in (MemoryStateStore(clock), RedisStateStore(link, keys, clock)):
        clock.now = time.time()
        await store.add_sample(sample("p1"))
        clock.now += SAMPLES_AGE_S - 10
        assert len(await store.samples()) == 1
        clock.now += 20
        assert await store.samples() == []


async def test_the_last_emergency_states_are_remembered(store: StateStore) -> None:
    assert await store.emergencies() == []
    states = [Emergency("alert", f"drill {number}", 1_769_248_800.25 + number, "mara") for number in range(55)]
    for each in states:
        await store.set_emergency(each)
    assert await store.emergencies() == states[:4:-1]
    assert await store.emergency() == states[-1]


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
    with waits_skipped() as waited, pytest.raises(Unavailable):
        await store.ping()
    assert waited() < 3.5
    (own_redis.start if trouble == "killed" else own_redis.resume)()
    await store.ping()
