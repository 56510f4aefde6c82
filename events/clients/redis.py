"""The client registry on Redis, shared by all processes."""

from itertools import chain
from typing import Any, Final

from events.clients.encoding import decode, encode
from events.ports import ClientChanges, ProcessReport
from events.redis_link import Keys, RedisLink

#: Takes a process off the index unless it has reported again meanwhile.
_PRUNE: Final = """
for index = 2, #KEYS do
  if redis.call('EXISTS', KEYS[index]) == 0 then
    redis.call('SREM', KEYS[1], ARGV[index - 1])
  end
end
"""


#: Rows that one reply brings, about: a reply is read in one step of the event loop.
_ROWS_PER_REPLY: Final = 500


class RedisClientRegistry:
    """Each report is a key that expires; an index names the keys, so that nothing has to search for them. The rows of a
    process's clients are fields of a hash that expires with it."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._prune = link.script(_PRUNE)

    async def report(self, report: ProcessReport, ttl_s: float) -> None:
        """After `Unavailable` the counters may have been added: the reply may be what was lost."""
        counted = [("HINCRBY", self._keys.totals, name, count) for name, count in report.counters.items()]
        await self._link.atomically(
            [
                ("SET", self._keys.report(report.process), encode(report), "PX", _milliseconds(ttl_s)),
                ("SADD", self._keys.processes, report.process),
                *counted,
            ]
        )

    async def withdraw(self, process: str) -> None:
        await self._link.atomically(
            [
                ("DEL", self._keys.report(process)),
                ("UNLINK", self._keys.clients(process)),
                ("SREM", self._keys.processes, process),
            ]
        )

    async def reports(self) -> list[ProcessReport]:
        """In the order of the processes' names."""
        processes = await self._processes()
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

    async def put_clients(self, process: str, changes: ClientChanges, ttl_s: float) -> int:
        key = self._keys.clients(process)
        commands: list[tuple[Any, ...]] = [("UNLINK", key)] if changes.anew else []
        if changes.rows:
            commands.append(("HSET", key, *chain.from_iterable(changes.rows.items())))
        if changes.gone:
            commands.append(("HDEL", key, *changes.gone))
        *_, count = await self._link.atomically([*commands, ("PEXPIRE", key, _milliseconds(ttl_s)), ("HLEN", key)])
        return int(count)

    async def clients(self, process: str) -> dict[str, bytes]:
        rows: dict[str, bytes] = {}
        cursor = b"0"
        while True:
            cursor, found = await self._link.call("HSCAN", self._keys.clients(process), cursor, "COUNT", _ROWS_PER_REPLY)
            rows.update((sid.decode(), row) for sid, row in found.items())
            if int(cursor) == 0:
                return rows

    async def client(self, sid: str) -> bytes | None:
        processes = await self._processes()
        if not processes:
            return None
        found = await self._link.pipeline(("HGET", self._keys.clients(process), sid) for process in processes)
        return next((row for row in found if row is not None), None)

    async def _processes(self) -> list[str]:
        """Names of processes that may have a report."""
        return sorted(name.decode() for name in await self._link.call("SMEMBERS", self._keys.processes))

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
