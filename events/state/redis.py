"""Shared state on Redis."""

import secrets
from itertools import chain
from typing import Final

from events.ports import Emergency, Unavailable
from events.redis_link import Keys, RedisLink

_PING_TTL_MS: Final = 10_000


class RedisStateStore:
    """`ping` writes, so that a Redis that is full, read-only or unable to save shows."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys

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
        state, reason, at = await self._link.call("HMGET", self._keys.emergency, "state", "reason", "at")
        return Emergency(state.decode(), (reason or b"").decode(), float(at or 0)) if state else Emergency()

    async def set_emergency(self, emergency: Emergency) -> None:
        fields = {"state": emergency.state, "reason": emergency.reason, "at": emergency.at}
        await self._link.call("HSET", self._keys.emergency, *chain.from_iterable(fields.items()))

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""
