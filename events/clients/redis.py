"""The client registry on Redis, shared by all processes."""

from typing import Final

from events.clients.encoding import decode, encode
from events.ports import ProcessReport
from events.redis_link import Keys, RedisLink

#: Takes a process off the index unless it has reported again meanwhile.
_PRUNE: Final = """
for index = 2, #KEYS do
  if redis.call('EXISTS', KEYS[index]) == 0 then
    redis.call('SREM', KEYS[1], ARGV[index - 1])
  end
end
"""


class RedisClientRegistry:
    """Each report is a key that expires; an index names the keys, so that nothing has to search for them."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._prune = link.script(_PRUNE)

    async def report(self, report: ProcessReport, ttl_s: float) -> None:
        """After `Unavailable` the counters may have been added: the reply may be what was lost."""
        counted = [("HINCRBY", self._keys.totals, name, count) for name, count in report.counters.items()]
        await self._link.atomically(
            [
                ("SET", self._keys.report(report.process), encode(report), "PX", max(1, round(ttl_s * 1000))),
                ("SADD", self._keys.processes, report.process),
                *counted,
            ]
        )

    async def withdraw(self, process: str) -> None:
        await self._link.atomically([("DEL", self._keys.report(process)), ("SREM", self._keys.processes, process)])

    async def reports(self) -> list[ProcessReport]:
        """In the order of the processes' names."""
        processes = sorted(name.decode() for name in await self._link.call("SMEMBERS", self._keys.processes))
        if not processes:
            return []
        documents = await self._link.call("MGET", *map(self._keys.report, processes))
        dead = [process for process, document in zip(processes, documents, strict=True) if document is None]
        if dead:
            await self._prune((self._keys.processes, *map(self._keys.report, dead)), dead)
        return [decode(document) for document in documents if document is not None]

    async def totals(self) -> dict[str, int]:
        totals = await self._link.call("HGETALL", self._keys.totals)
        return {name.decode(): int(count) for name, count in totals.items()}

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""
