"""The Redis pub/sub channel that executors in the field publish to. What is published while nobody listens is gone."""

import asyncio
import random
import time
from collections import deque
from typing import Any, Final

import structlog
from redis.exceptions import TimeoutError as NoReply

from events.bus.waiting import wait_for
from events.ports import BusEntry, Unavailable
from events.redis_link import REPLY_TIMEOUT_S, Keys, RedisLink

log = structlog.get_logger(__name__)

#: Documents that wait for the relay; further ones are dropped and counted.
QUEUE_DOCUMENTS: Final = 10_000

#: After so much silence the connection is asked whether it is alive: one that hangs looks like a quiet channel.
QUIET_S: Final = 5.0

#: Pauses between attempts to subscribe again double from the first to the last.
FIRST_PAUSE_S: Final = 0.05
LAST_PAUSE_S: Final = 2.0


class RedisPubSubReader:
    """Listens in a task of its own from the first read on, and subscribes again for ever when the connection is lost.

    `read` raises `Unavailable` while it is deaf and nothing is queued. When the queue is full new documents are dropped:
    those that were accepted stay in order and without holes.
    """

    name = "pubsub"
    durable = False

    def __init__(self, link: RedisLink, keys: Keys, *, queue_documents: int = QUEUE_DOCUMENTS) -> None:
        self._link = link
        self._channel = keys.bus
        self._capacity = queue_documents
        self._queue: deque[bytes] = deque()
        self._dropped = 0
        self._dropping = False
        self._arrived = asyncio.Event()
        self._hearing = asyncio.Event()
        self._tried = asyncio.Event()
        self._deaf_because = f"{link.where} has not confirmed the subscription yet"
        self._deaf_since = time.monotonic()
        self._pause_s = FIRST_PAUSE_S
        self._listener: asyncio.Task[None] | None = None

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        """The first read returns only after Redis has confirmed the subscription. The cursor is ignored.

        May be cancelled at any time: a document leaves the queue only when it is returned.
        """
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen_for_ever(), name="pubsub-listener")
            await wait_for(self._tried, REPLY_TIMEOUT_S)
        if not self._queue and not await wait_for(self._hearing, wait_s):
            raise Unavailable(self._deaf_because)
        if not self._queue:
            self._arrived.clear()
            await wait_for(self._arrived, wait_s)
        return self._take(limit)

    def dropped(self) -> int:
        """Documents that came while the queue was full."""
        return self._dropped

    async def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait([self._listener])
            self._listener = None
        self._hearing.clear()

    def _take(self, limit: int) -> list[BusEntry]:
        self._dropping = False
        return [BusEntry("", self._queue.popleft()) for _ in range(min(limit, len(self._queue)))]

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
                    await pubsub.ping()
                    reply_due = True

    def _receive(self, message: dict[str, Any]) -> None:
        if message["type"] == "message":
            self._enqueue(message["data"])
        elif message["type"] == "subscribe":
            self._pause_s = FIRST_PAUSE_S
            self._hearing.set()
            self._tried.set()
            log.info("pubsub_hearing", channel=self._channel, deaf_s=round(time.monotonic() - self._deaf_since, 3))

    def _enqueue(self, document: bytes) -> None:
        if len(self._queue) < self._capacity:
            self._queue.append(document)
            self._arrived.set()
            return
        self._dropped += 1
        if not self._dropping:
            self._dropping = True
            log.error("pubsub_dropping", channel=self._channel, queued=len(self._queue), dropped=self._dropped)

    def _went_deaf(self, reason: str) -> None:
        self._deaf_because = reason
        self._tried.set()
        if self._hearing.is_set():
            self._hearing.clear()
            self._deaf_since = time.monotonic()
            log.warning("pubsub_deaf", channel=self._channel, reason=reason)
