"""The bus on a Redis that is killed, frozen, restarted, full, or cuts connections: what follows must be delivery."""

import asyncio

import pytest

from events.bus.redis_pubsub import RedisPubSubReader
from events.bus.redis_stream import RedisStreamBus, RedisStreamReader
from events.ports import Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import eventually, hears_again, says, waits_skipped
from tests.redis_server import RedisServer


@pytest.mark.parametrize("fault", ["cut", "restart", "frozen"])
async def test_the_pubsub_input_hears_again(own_redis: RedisServer, own_link: RedisLink, keys: Keys, fault: str) -> None:
    reader = RedisPubSubReader(own_link, keys)
    await hears_again(reader, own_redis, keys)
    if fault == "cut":
        assert own_redis.command("CLIENT", "KILL", "TYPE", "pubsub") == 1
    elif fault == "restart":
        own_redis.kill()
        await says(reader, "cannot be reached")
        own_redis.start()
    else:
        own_redis.pause()
        assert await reader.read("", 100, 0.05) == []
        own_redis.resume()
    await hears_again(reader, own_redis, keys)
    assert own_redis.command("PUBSUB", "NUMSUB", keys.bus) == [keys.bus.encode(), 1]
    await reader.close()


async def test_a_pubsub_connection_that_hangs_is_noticed(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    reader = RedisPubSubReader(own_link, keys)
    await hears_again(reader, own_redis, keys)
    own_redis.pause()
    with waits_skipped() as waited:
        await says(reader, "does not answer", 3.0)
    # It is asked after 5 s, and given up after 2 s more; each read says so at its end.
    assert waited() < 15
    own_redis.resume()
    await hears_again(reader, own_redis, keys)
    await reader.close()


async def test_a_quiet_pubsub_connection_is_asked_and_kept(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.bus.redis_pubsub.QUIET_S", 0.02)
    reader = RedisPubSubReader(own_link, keys)
    assert await reader.read("", 10, 0) == []
    own_redis.command("CONFIG", "RESETSTAT")

    async def asked() -> bool:
        return bool(own_redis.command("INFO", "commandstats").get("cmdstat_ping", {}).get("calls", 0) >= 3)

    await eventually(asked)
    assert "cmdstat_subscribe" not in own_redis.command("INFO", "commandstats")
    await hears_again(reader, own_redis, keys)
    await reader.close()


async def test_the_first_pubsub_read_says_when_nobody_answers(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    own_redis.kill()
    reader = RedisPubSubReader(own_link, keys)
    with waits_skipped() as waited, pytest.raises(Unavailable, match=r"Redis at 127\.0\.0\.1:\d+/0 cannot be reached"):
        await reader.read("", 10, 0)
    assert waited() < 3.5
    own_redis.start()
    await hears_again(reader, own_redis, keys)
    await reader.close()


async def test_a_pubsub_input_that_was_never_read_closes(own_link: RedisLink, keys: Keys) -> None:
    await RedisPubSubReader(own_link, keys).close()


async def test_the_stream_input_goes_on_from_its_cursor_after_a_restart(keys: Keys) -> None:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        link = RedisLink(server.url)
        bus, reader = RedisStreamBus(link, keys, 100), RedisStreamReader(link, keys)
        await bus.publish([b"a", b"b"])
        [first] = await reader.read("", 1, 0)
        waiting = asyncio.create_task(reader.read((await reader.read(first.cursor, 10, 0))[-1].cursor, 10, 30))
        await eventually(lambda: _is_blocked(server))
        server.kill()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await waiting
        server.start()
        await bus.publish([b"c"])
        assert [entry.document for entry in await reader.read(first.cursor, 10, 0)] == [b"b", b"c"]
        await link.close()


async def test_a_blocked_read_outlasts_the_reply_timeout(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    reader = RedisStreamReader(own_link, keys)
    assert await reader.read("", 10, 2.5) == []
    assert own_redis.command("INFO", "stats")["total_connections_received"] < 10


async def test_a_blocked_read_on_a_frozen_server_ends(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    reader = RedisStreamReader(own_link, keys)
    await reader.read("", 10, 0)
    own_redis.pause()
    with waits_skipped() as waited, pytest.raises(Unavailable, match="does not answer"):
        await reader.read("", 10, 0.2)
    assert waited() < 3.5
    own_redis.resume()
    await RedisStreamBus(own_link, keys, 10).publish([b"a"])
    assert [entry.document for entry in await reader.read("", 10, 1)] == [b"a"]


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
async def test_publishing_says_within_seconds_that_it_failed(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys, trouble: str, warm: bool
) -> None:
    bus = RedisStreamBus(own_link, keys, 100)
    if warm:
        await bus.publish([b"before"])
    (own_redis.kill if trouble == "killed" else own_redis.pause)()
    with waits_skipped() as waited, pytest.raises(Unavailable):
        await bus.publish([b"lost"])
    assert waited() < 3.5


async def test_a_lost_reply_never_publishes_twice(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    bus, reader = RedisStreamBus(own_link, keys, 100), RedisStreamReader(own_link, keys)
    await bus.publish([b"before"])
    own_redis.pause()
    with waits_skipped(), pytest.raises(Unavailable):
        await bus.publish([b"once"])
    own_redis.resume()
    await bus.publish([b"after"])
    documents = [entry.document for entry in await reader.read("", 10, 0)]
    assert documents in ([b"before", b"once", b"after"], [b"before", b"after"])


async def test_a_server_without_memory_takes_none_of_a_list(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    bus, reader = RedisStreamBus(own_link, keys, 100), RedisStreamReader(own_link, keys)
    await bus.publish([b"before"])
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable, match="has no memory left"):
        await bus.publish([b"a", b"b"])
    assert [entry.document for entry in await reader.read("", 10, 0)] == [b"before"]


async def test_a_key_of_another_kind_is_a_refusal(link: RedisLink, keys: Keys) -> None:
    await link.call("SET", keys.bus, "not a stream")
    with pytest.raises(Unavailable, match=r"refuses to serve: .*WRONGTYPE"):
        await RedisStreamReader(link, keys).read("", 10, 0)


async def _is_blocked(server: RedisServer) -> bool:
    return bool(server.command("INFO", "clients")["blocked_clients"])
