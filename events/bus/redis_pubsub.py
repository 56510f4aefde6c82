"""The Redis pub/sub channel that executors in the field publish to. What is published while nobody listens is gone."""

import asyncio
import random
import time
from collections import deque
from itertools import islice
from typing import Any, Final

import structlog
from redis.exceptions import TimeoutError as NoReply

from events.bus.gap_log import GapLog, widened
from events.bus.waiting import wait_for
from events.cancellation import heed_cancellation
from events.domain.sizes import READ_BYTES, count_within
from events.ports import BusEntry, BusGap, Queue, Unavailable
from events.redis_link import REPLY_TIMEOUT_S, Keys, RedisLink

log = structlog.get_logger(__name__)

#: Documents that wait for the relay, and their bytes; further ones are dropped and counted.
QUEUE_DOCUMENTS: Final = 10_000
QUEUE_BYTES: Final = 64_000_000

#: After so much silence the connection is asked whether it is alive: one that hangs looks like a quiet channel.
QUIET_S: Final = 5.0

#: Pauses between attempts to subscribe again double from the first to the last.
FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 2.0


class RedisPubSubReader:
    """Listens in a task of its own from the first read on, and subscribes again for ever when the connection is lost.

    `read` raises `Unavailable` while it is deaf and nothing is queued. When the queue is full new documents are dropped:
    those that were accepted stay in order and without holes.

    A deaf interval begins when the connection last proved to be alive (a message, or the answer to a question that is asked
    every few seconds), so that it is rather told too long than too short.
    """

    name = "pubsub"
    durable = False
    reads_ahead = False

    def __init__(
        self, link: RedisLink, keys: Keys, *, queue_documents: int = QUEUE_DOCUMENTS, queue_bytes: int = QUEUE_BYTES
    ) -> None:
        self._link = link
        self._channel = keys.bus
        self._capacity = queue_documents
        self._capacity_bytes = queue_bytes
        self._queue: deque[BusEntry] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._gaps = GapLog()
        # What was dropped since the last read.
        self._dropping: BusGap | None = None
        self._arrived = asyncio.Event()
        self._hearing = asyncio.Event()
        self._tried = asyncio.Event()
        self._deaf_because = f"{link.where} has not confirmed the subscription yet"
        # Unix time: when the connection last proved to be alive, and since when it does not.
        self._heard_at = 0.0
        self._deaf_since: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._listener: asyncio.Task[None] | None = None

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        """The first read returns only after Redis has confirmed the subscription. The cursor is ignored.

        May be cancelled at any time: a document leaves the queue only when it is returned.
        """
        if self._listener is None:
            self._heard_at = time.time()
            self._listener = asyncio.create_task(self._listen_for_ever(), name="pubsub-listener")
            await wait_for(self._tried, REPLY_TIMEOUT_S)
        if not self._queue and not await wait_for(self._hearing, wait_s):
            raise Unavailable(self._deaf_because)
        if not self._queue:
            self._arrived.clear()
            await wait_for(self._arrived, wait_s)
        return self._take(limit)

    def gaps(self) -> list[BusGap]:
        """`deaf` once it hears again, and `dropped`. Nothing is told of the time before the first read."""
        self._tell_dropped()
        return self._gaps.take()

    def queue(self) -> Queue:
        """What was heard and not read yet."""
        return Queue(self._capacity, len(self._queue), self._dropped)

    async def close(self) -> None:
        """Stop listening; what is still queued is dropped. A later read begins anew."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
            self._listener = None
        self._hearing.clear()
        self._tried.clear()
        self._deaf_since = None
        while self._queue:
            self._drop()
            self._queue.popleft()
        self._queued_bytes = 0

    def _take(self, limit: int) -> list[BusEntry]:
        self._tell_dropped()
        count = count_within((len(entry.document) for entry in islice(self._queue, limit)), READ_BYTES)
        entries = [self._queue.popleft() for _ in range(count)]
        self._queued_bytes -= sum(len(entry.document) for entry in entries)
        return entries

    def _tell_dropped(self) -> None:
        if self._dropping is not None:
            self._gaps.add(self._dropping)
            self._dropping = None

    async def _listen_for_ever(self) -> None:
        while True:
            try:
                async with self._link.serving():
                    await self._listen()
            except Unavailable as error:
                self._went_deaf(str(error))
            except Exception as error:
                log.exception("pubsub_listener_failed", channel=self._channel)
                self._went_deaf(f"The pub/sub listener failed: {error!r}")
            # Some randomness, lest all processes come back to a Redis that just started in the same moment.
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311
            self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)

    async def _listen(self) -> None:
        async with self._link.pubsub() as pubsub:
            with heed_cancellation():
                await pubsub.subscribe(self._channel)
            reply_due = True
            while True:
                message = await pubsub.get_message(timeout=REPLY_TIMEOUT_S if reply_due else QUIET_S)
                if message is not None:
                    reply_due = False
                    self._receive(message)
                elif reply_due:
                    raise NoReply(f"no answer on the subscription's connection within {REPLY_TIMEOUT_S} s")
                else:
                    with heed_cancellation():
                        await pubsub.ping()
                    reply_due = True

    def _receive(self, message: dict[str, Any]) -> None:
        self._heard_at = time.time()
        if message["type"] == "message":
            self._enqueue(message["data"])
        elif message["type"] == "subscribe":
            self._pause_s = FIRST_PAUSE_S
            self._hearing.set()
            self._tried.set()
            self._tell_deaf()

    def _enqueue(self, document: bytes) -> None:
        if len(self._queue) < self._capacity and self._queued_bytes + len(document) <= self._capacity_bytes:
            self._queue.append(BusEntry("", document, self._heard_at))
            self._queued_bytes += len(document)
            self._arrived.set()
        else:
            self._drop()

    def _drop(self) -> None:
        self._dropped += 1
        now = time.time()
        if self._dropping is None:
            self._dropping = BusGap(self.name, "dropped", 1, now, now)
            log.error("pubsub_dropping", channel=self._channel, queued=len(self._queue), dropped=self._dropped)
        else:
            self._dropping = widened(self._dropping, BusGap(self.name, "dropped", 1, now, now))

    def _went_deaf(self, reason: str) -> None:
        self._deaf_because = reason
        self._tried.set()
        self._hearing.clear()
        if self._deaf_since is None:
            self._deaf_since = self._heard_at
            log.warning("pubsub_deaf", channel=self._channel, reason=reason)

    def _tell_deaf(self) -> None:
        deaf_s = 0.0
        if self._deaf_since is not None:
            deaf_s = max(0.0, self._heard_at - self._deaf_since)
            self._gaps.add(BusGap(self.name, "deaf", None, self._deaf_since, self._deaf_since + deaf_s))
            self._deaf_since = None
        log.info("pubsub_hearing", channel=self._channel, deaf_s=round(deaf_s, 3))
