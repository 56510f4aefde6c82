"""Publishing from executors: what is emitted is kept at once, and published in the background."""

import atexit
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from workflow_events.buffer import Batch, Buffer, MemoryBuffer, OnFull
from workflow_events.encoding import encode, timestamp
from workflow_events.execution import Execution
from workflow_events.outlets import HttpOutlet, Outlet, RedisOutlet, Refused, TooLarge, Unavailable

log = logging.getLogger("workflow_events")

#: Seconds before a batch is tried again: at first, at most. Each failure doubles it.
BACKOFF_S: Final = (0.1, 5.0)

#: Seconds that `close` waits for what is not published yet.
CLOSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class PublisherStats:
    """Numbers of one publisher.

    published: events that the bus has
    pending:   events that wait
    dropped:   events that were given up because the buffer was full
    rejected:  events that were refused: by this package as invalid, or by the server
    failures:  attempts that failed
    last_error: why the last of these failed; empty while all goes well
    """

    published: int
    pending: int
    dropped: int
    rejected: int
    failures: int
    last_error: str


class Publisher:
    """Publishes events in the order in which they were emitted. For any number of threads and tasks; not across a fork.

    `emit` waits for no network. A thread takes what has gathered, in batches, and repeats what fails until it succeeds.
    Made by `to_redis` or `to_http`. What waits is in memory, or with `spool` on disk, where it outlives the process:

    spool:     a folder, which processes may share
    max_bytes: bound of what waits
    on_full:   `drop_oldest` gives up what waits for longest, `drop_newest` what comes; both are counted and logged
    fsync:     with a spool, make each event survive a failure of the machine too
    """

    def __init__(
        self,
        outlet: Outlet,
        *,
        spool: str | Path | None = None,
        max_bytes: int = 64 << 20,
        on_full: OnFull = "drop_oldest",
        fsync: bool = False,
    ) -> None:
        if on_full not in ("drop_oldest", "drop_newest"):
            raise ValueError(f"on_full must be drop_oldest or drop_newest, not {on_full!r}.")
        self._outlet = outlet
        self._buffer = _buffer(spool, max_bytes, on_full, fsync)
        self._pid = os.getpid()
        self._published = self._rejected = self._failures = self._told_dropped = 0
        self._last_error = ""
        self._closing = self._ended = False
        self._deadline = float("inf")
        # Guards all of the above, and wakes whoever waits for a change.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="workflow-events", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @classmethod
    def to_redis(
        cls,
        url: str = "redis://localhost:6379/0",
        *,
        stream: str = "workflow_events",
        max_events: int = 100_000,
        **options: Any,
    ) -> Self:
        """Publish to the Redis Stream, which the server's relay reads. It is kept to about `max_events` events.

        Each event is added once, also when the answer to an attempt was lost. `options` are those of the class.
        """
        return cls(RedisOutlet(url, stream, max_events), **options)

    @classmethod
    def to_http(cls, url: str, *, token: str | Callable[[], str] | None = None, **options: Any) -> Self:
        """Publish to the server at this address. `token` may be a function that is asked before each request.

        When the answer to an attempt was lost, its events may be published twice. `options` are those of the class.
        """
        return cls(HttpOutlet(url, token), **options)

    # -- emitting -------------------------------------------------------------------------------------------------------

    def execution(
        self,
        workflow_id: str,
        *,
        bot_id: str | None = None,
        strategy_id: str | None = None,
        execution_id: str | None = None,
        node_count: int | None = None,
    ) -> Execution:
        """One run of a workflow, as a context: `with publisher.execution("arb_btc_001") as run:`.

        execution_id: made up when it is not given. With one, and without `with`, this is a handle on a run that was begun
                      elsewhere: its nodes and events can be emitted from here.
        """
        return Execution(
            self.emit, workflow_id, bot_id=bot_id, strategy_id=strategy_id, execution_id=execution_id, node_count=node_count
        )

    def emit(self, event: Mapping[str, Any]) -> None:
        """Publish an event. `timestamp` is now when it is not given. Raises `InvalidEvent`."""
        if os.getpid() != self._pid:
            raise RuntimeError("This publisher was made before a fork: make it in the process that uses it.")
        try:
            document = encode(event if "timestamp" in event else {**event, "timestamp": timestamp()})
        except ValueError:
            with self._changed:
                self._rejected += 1
            raise
        with self._changed:
            if self._closing:
                raise RuntimeError("This publisher is closed.")
            self._buffer.append(document)
            self._tell_dropped()
            self._changed.notify_all()

    # -- watching and ending --------------------------------------------------------------------------------------------

    @property
    def stats(self) -> PublisherStats:
        """What it has done so far."""
        with self._changed:
            return PublisherStats(
                self._published,
                self._buffer.pending,
                self._buffer.dropped,
                self._rejected,
                self._failures,
                self._last_error,
            )

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing waits any more. Returns whether that came about in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._buffer.pending, timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Publish what waits, for so many seconds at most, and end. Returns how many events still wait: with a spool the next
        publisher of its folder has them, without one they are lost."""
        if os.getpid() != self._pid:
            return 0
        with self._changed:
            if self._closing:
                return self._buffer.pending
            self._closing = True
            self._deadline = time.monotonic() + timeout_s
            self._changed.notify_all()
        atexit.unregister(self.close)
        # An attempt that is under way ends by its own timeout; it is not waited for.
        self._thread.join(timeout_s + 0.1)
        with self._changed:
            pending = self._buffer.pending
            self._ended = True
            self._buffer.close()
        self._outlet.close()
        if pending:
            log.warning("%d events were not published to %s", pending, self._outlet.where)
        return pending

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # -- the background -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (batch := self._next()) is not None and self._publish(batch):
            with self._changed:
                if self._ended:
                    return
                self._buffer.done(batch.last)
                self._changed.notify_all()

    def _next(self) -> Batch | None:
        """What to publish next, as soon as there is something; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._buffer.pending or self._closing)
            return None if self._is_over() else self._buffer.batch()

    def _publish(self, batch: Batch) -> bool:
        """Publish a batch, less what is refused. False when that did not come about before the end."""
        parts, failures = [batch.documents], 0
        while parts:
            documents = parts.pop()
            try:
                self._outlet.send(replace(batch, documents=documents))
                self._succeeded(len(documents))
                failures = 0
            except Refused as error:
                parts += self._without(documents, error.reasons)
            except TooLarge as error:
                middle = len(documents) // 2
                parts += [documents[middle:], documents[:middle]] if middle else self._without(documents, {0: str(error)})
            except Exception as error:
                parts.append(documents)
                failures += 1
                if not self._failed(error, failures):
                    return False
        return True

    def _succeeded(self, count: int) -> None:
        with self._changed:
            self._published += count
            if self._last_error:
                log.info("%s takes events again", self._outlet.where)
                self._last_error = ""

    def _without(self, documents: Sequence[bytes], reasons: Mapping[int, str]) -> list[Sequence[bytes]]:
        """What is left of a part when the refused events are taken out."""
        for index, reason in reasons.items():
            log.error("%s refuses an event: %s %s", self._outlet.where, reason, documents[index][:200])
        with self._changed:
            self._rejected += len(reasons)
        rest = [document for index, document in enumerate(documents) if index not in reasons]
        return [rest] if rest else []

    def _failed(self, error: Exception, failures: int) -> bool:
        """Wait before the next attempt. False when there is to be none."""
        reason = str(error) or type(error).__name__
        retry_after_s = 0.0
        if isinstance(error, Unavailable):
            retry_after_s = error.retry_after_s
        else:
            log.error("publishing failed in an unexpected way", exc_info=error)
        first, longest = BACKOFF_S
        pause = random.uniform(0.5, 1) * min(first * 2 ** min(failures, 16), longest)  # noqa: S311 - spreads load
        with self._changed:
            if not self._last_error:
                log.warning("events wait: %s", reason)
            self._failures += 1
            self._last_error = reason
            # New events are no reason to try earlier; the end is.
            self._changed.wait_for(lambda: self._closing, max(pause, retry_after_s))
            return not self._is_over()

    def _is_over(self) -> bool:
        """Whether nothing more is to be published. Call it with the lock."""
        return self._closing and (not self._buffer.pending or time.monotonic() >= self._deadline)

    def _tell_dropped(self) -> None:
        """Log that events are dropped: the first, and each time that their number has doubled."""
        dropped = self._buffer.dropped
        if dropped >= max(1, 2 * self._told_dropped):
            self._told_dropped = dropped
            log.error("%d events were dropped so far: too many wait for %s", dropped, self._outlet.where)


def _buffer(spool: str | Path | None, max_bytes: int, on_full: OnFull, fsync: bool) -> Buffer:
    if spool is None:
        return MemoryBuffer(max_bytes, on_full)
    # Not at the top: it needs file locks that only Unix has.
    from workflow_events.spool import Spool

    return Spool(Path(spool), max_bytes, on_full, fsync=fsync)
