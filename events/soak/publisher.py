"""Puts numbered events on the Redis Stream: each exactly once and in order, whatever happens to Redis meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson
from redis import exceptions as errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from events.bus.redis_stream import FIELD as STREAM_FIELD
from events.soak.plan import SoakFailed
from events.soak.traffic import FIELD, Draft, Traffic

#: How often what is due is published.
TICK_S: Final = 0.01

#: Events per round trip; more only wait when Redis was away.
BATCH: Final = 200

#: Redis has to come back within so long.
OUTAGE_S: Final = 60.0
RETRY_S: Final = 0.1
REPLY_TIMEOUT_S: Final = 5.0

#: Entries at the end of the stream among which the last event is looked for.
LAST_ENTRIES: Final = 1_000


class Publisher:
    """The only writer of its stream.

    A write whose answer was lost may have been carried out. The end of the stream tells, once it is certain that nothing of
    the broken connection is still on its way: that connection is killed first.
    """

    def __init__(self, url: str, stream: str, stream_events: int, traffic: Traffic) -> None:
        self.retries = 0
        #: Events that Redis had taken and then forgot, in a crash.
        self.forgotten = 0
        self._url = url
        self._stream = stream
        self._stream_events = stream_events
        self._traffic = traffic
        self._redis: Any = None
        self._connection_id = 0
        self._landed = 0

    async def run(self, rate: float, seconds: float) -> None:
        """Publish at a steady rate, and make up for what was late. Returns when everything is on the bus."""
        began = time.monotonic()
        total = round(rate * seconds)
        published = 0
        while published < total:
            due = min(total, int((time.monotonic() - began) * rate))
            while published < due:
                count = min(BATCH, due - published)
                await self._publish([self._traffic.next() for _ in range(count)])
                published += count
            await asyncio.sleep(TICK_S)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    async def _publish(self, drafts: Sequence[Draft]) -> None:
        deadline = time.monotonic() + OUTAGE_S
        while drafts:
            try:
                if self._redis is None:
                    await self._connect()
                    drafts = [draft for draft in drafts if draft.number > self._landed]
                await self._add(drafts)
                self._landed = drafts[-1].number if drafts else self._landed
                return
            except (errors.RedisError, OSError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise SoakFailed(f"Redis did not come back within {OUTAGE_S:g} s: {error}") from None
                self.retries += 1
                await self.close()
                await asyncio.sleep(RETRY_S)

    async def _connect(self) -> None:
        """Connect again, make sure that the connection before is dead, and see how far its writes got."""
        redis = Redis.from_url(
            self._url, single_connection_client=True, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=REPLY_TIMEOUT_S
        )
        self._redis = await redis.initialize()
        if self._connection_id:
            await self._ask("CLIENT", "KILL", "ID", self._connection_id)
        self._connection_id = await self._ask("CLIENT", "ID")
        landed = await self._last_number()
        self.forgotten += max(0, self._landed - landed)
        self._landed = landed

    async def _last_number(self) -> int:
        entries = await self._ask("XREVRANGE", self._stream, "+", "-", "COUNT", LAST_ENTRIES)
        # The relay's canaries are among them.
        documents = (fields.get(STREAM_FIELD.encode()) for _, fields in entries)
        last = next((document for document in documents if document is not None), None)
        number: int = orjson.loads(last)[FIELD]["n"] if last is not None else 0
        return number

    async def _ask(self, *command: Any) -> Any:
        return await self._redis.execute_command(*command)

    async def _add(self, drafts: Sequence[Draft]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for draft in drafts:
                fields = {STREAM_FIELD: draft.document()}
                pipeline.xadd(self._stream, fields, maxlen=self._stream_events, approximate=True)
            await pipeline.execute()
