"""Shared state on Redis."""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Final

import orjson

from events.domain.durations import Durations, joined
from events.ports import EMERGENCY_CHANGES, MAX_SAMPLES, MAX_WORKFLOWS, SAMPLES_AGE_S, Emergency, Sample, Unavailable
from events.redis_link import Keys, RedisLink

_PING_TTL_MS: Final = 10_000

#: Samples that one reply brings.
_SAMPLES_PER_REPLY: Final = 1_000


class RedisStateStore:
    """`ping` writes, so that a Redis that is full, read-only or unable to save shows. `clock` gives Unix time in seconds."""

    def __init__(self, link: RedisLink, keys: Keys, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._keys = keys
        self._clock = clock

    async def ping(self) -> None:
        token = secrets.token_hex(8)
        _, found = await self._link.atomically(
            [
                ("SET", self._keys.ping, token, "PX", _PING_TTL_MS),
                ("GET", self._keys.ping),
            ]
        )
        if found != token.encode():
            raise Unavailable(f"{self._link.where} does not give back what was written")

    async def emergency(self) -> Emergency:
        newest = await self._link.call("LINDEX", self._keys.emergencies, 0)
        return Emergency(**orjson.loads(newest)) if newest else Emergency()

    async def set_emergency(self, emergency: Emergency) -> None:
        await self._link.atomically(
            [
                ("LPUSH", self._keys.emergencies, orjson.dumps(emergency)),
                ("LTRIM", self._keys.emergencies, 0, EMERGENCY_CHANGES - 1),
            ]
        )

    async def emergencies(self) -> list[Emergency]:
        return [Emergency(**orjson.loads(each)) for each in await self._link.call("LRANGE", self._keys.emergencies, 0, -1)]

    async def keep_durations(self, found: Mapping[str, Durations]) -> None:
        if not found:
            return
        before = await self.durations(list(found))
        fields = [(workflow, orjson.dumps(joined(before.get(workflow, {}), nodes))) for workflow, nodes in found.items()]
        now = self._clock()
        await self._link.atomically(
            [
                ("HSET", self._keys.durations, *chain.from_iterable(fields)),
                ("ZADD", self._keys.durations_kept, *chain.from_iterable((now, workflow) for workflow in found)),
            ]
        )
        await self._forget_durations()

    async def _forget_durations(self) -> None:
        oldest = await self._link.call("ZRANGE", self._keys.durations_kept, 0, -MAX_WORKFLOWS - 1)
        if oldest:
            commands = ("HDEL", self._keys.durations, *oldest), ("ZREM", self._keys.durations_kept, *oldest)
            await self._link.atomically(commands)

    async def durations(self, workflows: Sequence[str]) -> dict[str, dict[str, list[float]]]:
        if not workflows:
            return {}
        found = await self._link.call("HMGET", self._keys.durations, *workflows)
        return {workflow: orjson.loads(text) for workflow, text in zip(workflows, found, strict=True) if text}

    async def add_sample(self, sample: Sample) -> None:
        oldest = round((self._clock() - SAMPLES_AGE_S) * 1000)
        await self._link.atomically(
            [
                ("XADD", self._keys.samples, "MAXLEN", "~", MAX_SAMPLES, "*", "s", orjson.dumps(sample)),
                ("XTRIM", self._keys.samples, "MINID", "~", oldest),
                ("EXPIRE", self._keys.samples, 2 * SAMPLES_AGE_S),
            ]
        )

    async def samples(self) -> list[Sample]:
        found: list[Sample] = []
        start = str(round((self._clock() - SAMPLES_AGE_S) * 1000))
        while True:
            page = await self._link.call("XRANGE", self._keys.samples, start, "+", "COUNT", _SAMPLES_PER_REPLY)
            found += [Sample(**orjson.loads(fields[b"s"])) for _, fields in page]
            if len(page) < _SAMPLES_PER_REPLY:
                return found
            start = f"({page[-1][0].decode()}"

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""
