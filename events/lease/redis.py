"""The lease on Redis, for relays in several processes."""

from typing import Final

from events.redis_link import Keys, RedisLink

#: KEYS lease, fence; ARGV owner, milliseconds. The token follows the clock of Redis, so that it grows even when Redis lost
#: all it knew; should that clock go back, it still grows by one.
_ACQUIRE: Final = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return false
end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local token = string.format('%.0f', math.max(now_ms, tonumber(redis.call('GET', KEYS[2]) or '0') + 1))
redis.call('SET', KEYS[2], token)
return token
"""

#: KEYS lease; ARGV owner, milliseconds.
_RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

#: KEYS lease; ARGV owner.
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
"""


class RedisLease:
    """The fencing token is the one that `append.lua` compares: from `acquire` on, every older writer is refused."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._acquire = link.script(_ACQUIRE)
        self._renew = link.script(_RENEW)
        self._release = link.script(_RELEASE)

    async def acquire(self, owner: str, ttl_s: float) -> int | None:
        """As the port says; also the holder itself gets None. After `Unavailable` the lease may be taken until it expires."""
        token = await self._acquire((self._keys.lease, self._keys.fence), (owner, _milliseconds(ttl_s)))
        return None if token is None else int(token)

    async def renew(self, owner: str, ttl_s: float) -> bool:
        return bool(await self._renew((self._keys.lease,), (owner, _milliseconds(ttl_s))))

    async def release(self, owner: str) -> None:
        await self._release((self._keys.lease,), (owner,))

    async def holder(self) -> str | None:
        owner = await self._link.call("GET", self._keys.lease)
        return owner.decode() if owner is not None else None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
