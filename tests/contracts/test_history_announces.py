"""The history on Redis tells the group of a step within the step: of all that it took, and of nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio.client import PubSub

from events.conf import HistoryLimits
from events.domain.entry import Position
from events.history.redis import RedisHistory
from events.ports import Append, Batch, FencedOut, Moved, Sealed, Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import event, write
from tests.redis_server import RedisServer


class Herald:
    """Publishes the numbers of a batch, a message each; `silent` leaves it to others."""

    def __init__(self, channel: str, *, silent: bool = False) -> None:
        self._channel = channel
        self._silent = silent
        self.ends: list[Position] = []

    def seal(self, batch: Batch) -> Sealed | None:
        messages = [f"{batch.epoch}:{entry.number}:{entry.offsets}".encode() for entry in batch.entries]
        return None if self._silent else Sealed(self._channel, messages)

    def announced(self, end: Position) -> None:
        self.ends.append(end)


class Ear:
    """What was published on a channel."""

    def __init__(self, link: RedisLink, channel: str, pubsub: PubSub) -> None:
        self._link = link
        self._channel = channel
        self._pubsub = pubsub

    async def heard(self) -> list[str]:
        """All so far."""
        await self._link.call("PUBLISH", self._channel, "end")
        found: list[str] = []
        while not found or found[-1] != "end":
            message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
            found.append(message["data"].decode() if message else "end")
        return found[:-1]


@asynccontextmanager
async def listening(link: RedisLink, channel: str) -> AsyncIterator[Ear]:
    async with link.pubsub() as pubsub:
        await pubsub.subscribe(channel)
        await pubsub.get_message(timeout=5)
        yield Ear(link, channel, pubsub)


async def test_a_step_that_is_taken_is_announced_in_order(link: RedisLink, keys: Keys) -> None:
    herald = Herald(f"{keys.prefix}:group")
    history = RedisHistory(link, keys, HistoryLimits(), herald)
    epoch, _ = await history.position()
    async with listening(link, f"{keys.prefix}:group") as ear:
        await write(history, event("a"), event("b"))
        await write(history, event("a"))
        assert await ear.heard() == [f"{epoch}:1:(1, 1)", f"{epoch}:2:(2, 1)", f"{epoch}:3:(3, 2)"]
    assert herald.ends == [Position(epoch, 2), Position(epoch, 3)]


async def test_what_a_writer_took_for_wrong_offsets_is_not_announced(link: RedisLink, keys: Keys) -> None:
    histories = [RedisHistory(link, keys, HistoryLimits(), Herald(f"{keys.prefix}:group")) for _ in range(2)]
    epoch, _ = await histories[0].position()
    async with listening(link, f"{keys.prefix}:group") as ear:
        for turn in range(4):
            await write(histories[turn % 2], event("a"))
        assert await ear.heard() == [f"{epoch}:{number}:({number}, {number})" for number in (1, 2, 3, 4)]


async def test_nobody_hears_of_a_step_that_is_refused(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    herald = Herald("group")
    history = RedisHistory(own_link, keys, HistoryLimits(), herald)
    await write(history, event("a"), fence=2)
    here = await history.position()
    async with listening(own_link, "group") as ear:
        with pytest.raises(FencedOut):
            await history.append(Append(1, here, "stream", "", [event("a")]))
        with pytest.raises(Moved):
            await history.append(Append(2, Position(here.epoch, 0), "stream", "", [event("a")]))
        own_redis.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Unavailable):
            await history.append(Append(2, here, "stream", "", [event("a")]))
        own_redis.command("CONFIG", "SET", "maxmemory", "0")
        assert await ear.heard() == []
    assert herald.ends == [here]


async def test_a_user_who_may_not_publish_has_the_step_taken_and_not_announced(own_redis: RedisServer, keys: Keys) -> None:
    own_redis.command("ACL", "SETUSER", "writer", "on", ">secret", "~*", "+@all", "resetchannels")
    link = RedisLink(own_redis.url.replace("//", "//writer:secret@"))
    herald = Herald("group")
    history = RedisHistory(link, keys, HistoryLimits(), herald)
    await write(history, event("a"), event("a"))
    assert (await history.position()).number == 2
    assert herald.ends == []
    await link.close()


async def test_what_is_not_sealed_is_left_to_the_relay(link: RedisLink, keys: Keys) -> None:
    herald = Herald(f"{keys.prefix}:group", silent=True)
    history = RedisHistory(link, keys, HistoryLimits(), herald)
    async with listening(link, f"{keys.prefix}:group") as ear:
        await write(history, event("a"))
        # A step without events says nothing.
        await write(history, cursor="8-0")
        assert await ear.heard() == []
    assert herald.ends == []
