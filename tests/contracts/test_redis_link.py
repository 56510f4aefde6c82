"""What every adapter on Redis relies on: timeouts, the wording of trouble, and no repeats."""

import asyncio

import pytest

from events.ports import Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import eventually, waits_skipped
from tests.redis_server import RedisServer, free_port


async def test_many_callers_share_few_connections(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url, connections=4)
    assert await asyncio.gather(*(link.call("ECHO", str(number)) for number in range(200))) == [
        str(number).encode() for number in range(200)
    ]
    assert own_redis.command("INFO", "clients")["connected_clients"] <= 5
    await link.close()


async def test_many_callers_of_a_frozen_server_all_hear_of_it_within_seconds(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url, connections=4)
    await link.call("PING")
    own_redis.pause()
    with waits_skipped() as waited:
        answers = await asyncio.gather(*(link.call("PING") for _ in range(20)), return_exceptions=True)
    assert waited() < 4.5
    assert all(isinstance(answer, Unavailable) for answer in answers)
    own_redis.resume()
    assert await link.call("PING") is True
    await link.close()


async def test_the_message_names_the_server_but_not_the_password() -> None:
    port = free_port()
    link = RedisLink(f"redis://somebody:secret-word@127.0.0.1:{port}/3")
    with pytest.raises(Unavailable) as raised:
        await link.call("PING")
    assert str(raised.value).startswith(f"Redis at 127.0.0.1:{port}/3 cannot be reached")
    assert "secret-word" not in str(raised.value)
    await link.close()


async def test_a_wrong_password_is_named(own_redis: RedisServer) -> None:
    own_redis.command("CONFIG", "SET", "requirepass", "right")
    link = RedisLink(f"redis://:wrong@127.0.0.1:{own_redis.port}/0")
    with pytest.raises(Unavailable, match="refuses the user name or password"):
        await link.call("PING")
    await link.close()


def test_an_address_of_another_kind_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="redis://"):
        RedisLink("http://127.0.0.1/")


async def test_a_script_that_the_server_forgot_is_sent_again(own_redis: RedisServer, own_link: RedisLink) -> None:
    script = own_link.script("return redis.call('INCR', KEYS[1])")
    assert await script(["n"], []) == 1
    own_redis.command("SCRIPT", "FLUSH")
    assert await script(["n"], []) == 2


async def until_blocked(server: RedisServer) -> None:
    """Returns once somebody waits for something to come."""

    async def blocked() -> bool:
        return bool(server.command("INFO", "clients")["blocked_clients"])

    await eventually(blocked)


async def test_a_line_waits_and_then_runs_a_script_in_one_go(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    line, script = own_link.line(), own_link.script("return {ARGV[1], redis.call('LLEN', KEYS[1])}")
    wait = ("BLPOP", keys.ping, 5)
    for word in ("unknown", "known", "forgotten"):
        if word == "forgotten":
            own_redis.command("SCRIPT", "FLUSH")
        asked = asyncio.create_task(line.run(script, [keys.ping], [word], wait=wait, wait_s=5))
        await until_blocked(own_redis)
        await own_link.call("RPUSH", keys.ping, "a", "b", "c")
        assert await asked == [word.encode(), 2]
        await own_link.call("DEL", keys.ping)


async def test_a_line_goes_on_after_whatever_ended_its_connection(own_redis: RedisServer, own_link: RedisLink) -> None:
    line, script = own_link.line(), own_link.script("return ARGV[1]")
    asked = asyncio.create_task(line.run(script, [], ["never read"], wait=("BLPOP", "nothing", 5), wait_s=5))
    await until_blocked(own_redis)
    asked.cancel()
    await asyncio.wait([asked])
    assert await line.run(script, [], ["after a cancellation"]) == b"after a cancellation"
    own_redis.restart()
    # Another connection: by the time that it has an answer, the line's end has been noticed.
    await own_link.call("PING")
    assert await line.run(script, [], ["after a restart"]) == b"after a restart"
    await line.close()
    assert await line.run(script, [], ["after its end"]) == b"after its end"


async def test_a_line_to_a_frozen_server_does_not_mix_up_replies(own_redis: RedisServer, own_link: RedisLink) -> None:
    line, script = own_link.line(), own_link.script("return ARGV[1]")
    await line.run(script, [], ["before"])
    own_redis.pause()
    with waits_skipped(), pytest.raises(Unavailable, match="does not answer"):
        await line.run(script, [], ["late"])
    own_redis.resume()
    assert await line.run(script, [], ["after"]) == b"after"


async def test_a_line_whose_connection_ends_while_it_waits_says_so_at_once(own_redis: RedisServer, own_link: RedisLink) -> None:
    line, script = own_link.line(), own_link.script("return ARGV[1]")
    asked = asyncio.create_task(line.run(script, [], ["never read"], wait=("BLPOP", "nothing", 600), wait_s=600))
    await until_blocked(own_redis)
    own_redis.command("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await asked
    assert await line.run(script, [], ["after"]) == b"after"


async def test_a_line_takes_replies_that_come_in_many_pieces(own_link: RedisLink) -> None:
    line, script = own_link.line(), own_link.script("return {ARGV[1], string.rep(ARGV[1], 1000)}")
    text = b"x" * 5_000
    assert await line.run(script, [], [text], wait=("ECHO", text)) == [text, text * 1_000]


async def test_an_error_of_a_line_is_an_error_and_the_connection_goes_on(own_link: RedisLink, keys: Keys) -> None:
    line, script = own_link.line(), own_link.script("return redis.call('INCR', KEYS[1])")
    await own_link.call("SET", keys.ping, "x")
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        await line.run(script, ["n"], [], wait=("XREAD", "BLOCK", 10, "STREAMS", keys.ping, "0-0"))
    with pytest.raises(Unavailable, match="not an integer"):
        await line.run(script, [keys.ping], [])
    assert await line.run(script, ["n"], []) == 2


async def test_a_failed_command_of_a_transaction_undoes_it(link: RedisLink, keys: Keys) -> None:
    name = f"{keys.prefix}:n"
    with pytest.raises(Unavailable, match="refuses to serve"):
        await link.atomically([("SET", name, "1"), ("NO-SUCH-COMMAND",)])
    assert await link.call("GET", name) is None


async def test_connections_to_a_read_only_replica_are_dropped(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    before = await own_link.call("CLIENT", "ID")
    own_redis.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(Unavailable, match="is a read-only replica"):
        await own_link.call("SET", keys.ping, "x")
    assert await own_link.call("CLIENT", "ID") != before


async def test_cancelled_commands_do_not_mix_up_replies(link: RedisLink) -> None:
    for number in range(20):
        asking = asyncio.create_task(link.call("ECHO", f"cancelled {number}"))
        for _ in range(number):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert await link.call("ECHO", f"kept {number}") == f"kept {number}".encode()


async def test_a_server_that_is_still_loading_is_named(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    for number in range(200):
        own_redis.command("SET", f"{keys.prefix}:{number}", "x" * 1024)
    own_redis.command("SAVE")
    own_redis.kill()
    own_redis.start("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024", loaded=False)
    with pytest.raises(Unavailable, match="is still loading its data"):
        await own_link.call("GET", f"{keys.prefix}:1")
