"""A connection to Redis that is taken over from redis-py."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import redis
from redis.asyncio.connection import Connection

from events.redis_wire import RedisWire
from tests.contracts.support import eventually
from tests.redis_server import RedisServer


@pytest_asyncio.fixture
async def connection(own_redis: RedisServer) -> AsyncIterator[Any]:
    connection: Any = Connection(port=own_redis.port, protocol=2, driver_info=None)
    yield connection
    await connection.disconnect(nowait=True)


async def test_a_reply_is_its_callers_alone(connection: Any) -> None:
    await connection.connect()
    wire = RedisWire(connection)
    assert await wire.ask([("PING",), ("ECHO", b"x" * 300_000)], 10.0) == [b"PONG", b"x" * 300_000]
    assert not [value for value in vars(wire).values() if isinstance(value, list) and value]
    assert wire._asked is None


async def test_a_connection_that_redis_ends_at_once_says_why(own_redis: RedisServer, connection: Any) -> None:
    with redis.Redis(port=own_redis.port, single_connection_client=True, protocol=2) as other:
        other.config_set("maxclients", 1)
        await connection.connect()

        async def has_ended() -> bool:
            return bool(connection._reader._eof)

        await eventually(has_ended)
        with pytest.raises(redis.ConnectionError, match="max number of clients reached"):
            RedisWire(connection)
