"""The relay: bus -> history -> group. One leads at a time; what `manage.py runbus` runs."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import structlog

from events.domain.entry import Entry, Position
from events.domain.event import KNOWN_TYPES, Event, EventLimits, InvalidEvent, execution_id_of, parse_event
from events.fanout.counters import Counters
from events.fanout.drafter import Drafter
from events.fanout.latency import observe
from events.ports import (
    Append,
    Batch,
    BusEntry,
    BusGap,
    BusReader,
    Canary,
    DeadLetter,
    EventBus,
    FencedOut,
    GroupSender,
    History,
    Lease,
    Moved,
    NoTracer,
    Tracer,
    Unavailable,
)

log = structlog.get_logger("events")

T = TypeVar("T")

#: Documents per step. One step is one atomic write to the history and one message to the group.
BATCH = 1_000

#: A step of so many events is made ready while the one before it is written. Smaller ones are not worth the delay that this
#: means for what was written.
AHEAD = 100

#: Where several documents come at once, more are coming: the next read waits until the last one was so long ago (seconds), and
#: what comes meanwhile shares one write to the history, one message to the group, and one write to each socket. Documents that
#: come one by one wait for nothing, unless an interval is set, and neither does a backlog, which a read finds anyway.
SEVERAL = 2
GATHER_S = 0.005

#: Documents of so many bytes are a backlog however few they are: no interval is kept after them.
BACKLOG_BYTES = 1_000_000

#: How long one read of the bus waits for a document.
READ_WAIT_S = 1.0

#: Pause before something that could not be reached is tried again.
RETRY_S = 0.25

#: A heartbeat that the group does not take within so long is given up.
HEARTBEAT_SEND_S = 1.0

TRIM_INTERVAL_S = 30.0

#: How often a canary is put on the bus. There is never more than one on its way.
CANARY_INTERVAL_S = 2.0


class LostLease(Exception):
    """Somebody else leads now."""


class _Found(NamedTuple):
    """What one read of an input brought.

    gaps:      what was found missing before the entries
    canary_at: when the canary was put on the bus that was on its way before the read; 0 when none was
    """

    entries: Sequence[BusEntry]
    gaps: Sequence[BusGap]
    canary_at: float


class _Step(NamedTuple):
    """What one read of an input brought, checked; `gaps` and `canary_at` as they were found."""

    entries: Sequence[BusEntry]
    events: Sequence[Event]
    rejected: Sequence[DeadLetter]
    gaps: Sequence[BusGap]
    canary_at: float

    @property
    def cursor(self) -> str:
        return self.entries[-1].cursor


class Relay:
    """Reads every input, gives each event its place in the history, and sends it to the group.

    A crash at any instruction neither loses nor doubles an event of a durable input: the input's cursor is written in the
    same step as what was read, and what the group was not sent the hubs read from the journal.
    """

    def __init__(
        self,
        history: History,
        sender: GroupSender,
        readers: Sequence[BusReader],
        lease: Lease,
        owner: str,
        limits: EventLimits,
        *,
        lease_ttl_s: float,
        heartbeat_s: float,
        interval_s: float = 0.0,
        bus: EventBus | None = None,
        tracer: Tracer | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        interval_s: the least time between two steps of an input, after one that has events and is no backlog
        bus:        where canaries are put, for the one durable input to read; None for no canaries
        """
        self._tracer = tracer or NoTracer()
        self._history = history
        self._sender = sender
        self._readers = readers
        self._lease = lease
        self._owner = owner
        self._limits = limits
        self._lease_ttl_s = lease_ttl_s
        self._heartbeat_s = heartbeat_s
        self._interval_s = interval_s
        self._clock = clock
        self._bus = bus
        #: When the canary that is on its way was put on the bus; 0 when none is.
        self._canary_at = 0.0
        self._fence = 0
        self._position = Position("", 0)
        self._drafter = Drafter(history)
        #: What the history is writing now.
        self._writing: Append | None = None
        # Inputs take turns: entries reach the group in the order of the journal.
        self._turn = asyncio.Lock()
        self.leading = False
        self.counters = Counters()
        #: Inputs that were not last read to their end; `_drained` is set while there are none.
        self._busy = {reader.name for reader in readers}
        self._drained = asyncio.Event()
        #: Per input, when the bus took the oldest document of those that are being relayed.
        self._under_way: dict[str, float] = {}

    @property
    def lag_s(self) -> float:
        """Seconds since the bus took the oldest document that was read and is not relayed yet, or the canary that did not come
        through yet; 0 when there is neither."""
        oldest = min(filter(None, (*self._under_way.values(), self._canary_at)), default=0.0)
        return max(0.0, self._clock() - oldest) if oldest else 0.0

    async def run(self) -> None:
        """Lead whenever nobody else does, for ever."""
        while True:
            await self._acquire()
            try:
                await self._lead()
            except* (LostLease, FencedOut):
                log.warning("relay_lost_lease", owner=self._owner)
            finally:
                self.leading = False
                self._under_way.clear()
                self._canary_at = 0.0
                await self._stop_listening()
                await self.close()

    async def _stop_listening(self) -> None:
        """What an input hears while somebody else leads, that one relays."""
        for reader in self._readers:
            if not reader.durable:
                await reader.close()

    async def run_burst(self) -> None:
        """Lead until every input has been read to its end. Raises a group with `LostLease` or `FencedOut` when somebody else
        took over before."""
        await self._acquire()
        work = asyncio.create_task(self._lead())
        drained = asyncio.create_task(self._drained.wait())
        try:
            await asyncio.wait((work, drained), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, drained):
                task.cancel()
            await asyncio.gather(work, drained, return_exceptions=True)
            self.leading = False
            await self.close()

    async def close(self) -> None:
        """Give the lease back, so that a standby need not wait for it to run out."""
        try:
            await self._lease.release(self._owner)
        except Unavailable:
            log.info("relay_lease_left_to_expire", owner=self._owner)

    async def _acquire(self) -> None:
        waiting = False
        while True:
            try:
                fence = await self._lease.acquire(self._owner, self._lease_ttl_s)
            except Unavailable as error:
                log.warning("relay_waits", reason=str(error))
                fence = None
            if fence is not None:
                self._fence = fence
                return
            if not waiting:
                waiting = True
                log.info("relay_standby", owner=self._owner)
            await asyncio.sleep(self._lease_ttl_s / 6)

    async def _lead(self) -> None:
        self._position = await _retry(self._history.position)
        await self._drafter.forget()
        self._busy.update(reader.name for reader in self._readers)
        self.leading = True
        log.info("relay_leads", owner=self._owner, fence=self._fence, epoch=self._position.epoch, number=self._position.number)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew())
            tasks.create_task(self._beat())
            tasks.create_task(self._trim())
            if self._bus is not None:
                tasks.create_task(self._send_canaries(self._bus))
            for reader in self._readers:
                tasks.create_task(self._pump(reader))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_ttl_s / 3)
            try:
                if not await self._lease.renew(self._owner, self._lease_ttl_s):
                    raise LostLease
            except Unavailable as error:
                # Nobody can take the lease either while its store is away; the fence guards the rest.
                log.warning("relay_cannot_renew", reason=str(error))

    async def _beat(self) -> None:
        """Tell the hubs where the history is, so that one that missed a message knows within a second."""
        while True:
            # Between two steps: of one that is being taken hubs may have heard already, and would take us to be behind them.
            # But a history that does not answer is no reason to be silent.
            try:
                async with asyncio.timeout(self._heartbeat_s / 2):
                    await self._turn.acquire()
            except TimeoutError:
                await self._send_heartbeat()
            else:
                try:
                    await self._send_heartbeat()
                finally:
                    self._turn.release()
            await asyncio.sleep(self._heartbeat_s)

    async def _send_heartbeat(self) -> None:
        """Steps may wait meanwhile, so it has little time. One that is lost is no loss: the next one says more."""
        try:
            async with asyncio.timeout(HEARTBEAT_SEND_S):
                await self._sender.heartbeat(self._position)
        except TimeoutError:
            log.warning("relay_heartbeat_failed", reason=f"The group did not take it within {HEARTBEAT_SEND_S:g} s.")
        except Unavailable as error:
            log.warning("relay_heartbeat_failed", reason=str(error))

    async def _trim(self) -> None:
        while True:
            try:
                await self._history.trim(self._clock())
            except Unavailable as error:
                log.warning("relay_trim_failed", reason=str(error))
            await asyncio.sleep(TRIM_INTERVAL_S)

    async def _send_canaries(self, bus: EventBus) -> None:
        """Send the next one when the last one came through: many would fill a bus that nobody reads.

        While documents wait, more of them perhaps than the bus's bound, a canary must not push them off: whoever published
        them may have chosen to keep more.
        """
        while True:
            if not self._canary_at:
                self._canary_at = self._clock()
                try:
                    await bus.publish_canary(trim=not self._busy)
                except Unavailable as error:
                    log.warning("relay_canary_failed", reason=str(error))
                    self._canary_at = 0.0
            await asyncio.sleep(CANARY_INTERVAL_S)

    async def _pass_on_canary(self) -> None:
        """A canary came through. One that a relay before us left on the bus says nothing of the way as it is now."""
        published, self._canary_at = self._canary_at, 0.0
        if not published:
            return
        try:
            await self._sender.pass_on(Canary(published, self._clock()))
        except Unavailable as error:
            log.warning("group_unavailable", reason=str(error))

    async def _pump(self, reader: BusReader) -> None:
        """Carry one input over, step by step: one is written, one is made ready, and one is read.

        The store and this process are to work at the same time. So what was read is checked when the step before it was
        taken and is on its way to the store, and in a backlog the store is asked for the next before that.
        """
        ahead: asyncio.Queue[_Step] = asyncio.Queue(1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_on(reader, ahead, tasks))
            tasks.create_task(self._relay_all(reader, ahead))

    async def _read_on(self, reader: BusReader, ahead: "asyncio.Queue[_Step]", tasks: asyncio.TaskGroup) -> None:
        cursor = await _retry(lambda: self._history.cursor(reader.name)) if reader.durable else ""
        reading: asyncio.Task[_Found] | None = None
        while True:
            if not reader.reads_ahead:
                await ahead.join()
            found = await (reading or self._read(reader, cursor))
            found_at = time.monotonic()
            cursor, reading = found.entries[-1].cursor if found.entries else cursor, None
            await ahead.join()
            if reader.reads_ahead and len(found.entries) >= AHEAD:
                reading = tasks.create_task(self._read(reader, cursor))
                await asyncio.sleep(0)
            step = self._checked(reader.name, found)
            await self._draft_ahead(reader.name, step)
            await ahead.put(step)
            # Who writes goes first: a lone event is not to wait for the next read.
            await asyncio.sleep(0)
            if gather_s := self._gather_s(step):
                await self._gather(reader, found_at + gather_s)

    def _gather_s(self, step: _Step) -> float:
        """How long after a step was found the next one is looked for."""
        if len(step.entries) >= AHEAD:
            return 0.0
        several_s = GATHER_S if len(step.entries) >= SEVERAL else 0.0
        # A canary alone is no reason to keep the event back that comes after it.
        if not self._interval_s or not step.events or sum(len(entry.document) for entry in step.entries) >= BACKLOG_BYTES:
            return several_s
        return max(several_s, self._interval_s)

    async def _gather(self, reader: BusReader, until: float) -> None:
        """Leave documents on the bus until then; where that is in this process and has little room, until `AHEAD` came."""
        found, pause_s = _waiting(reader), math.inf if reader.queue() is None else GATHER_S
        while _waiting(reader) - found < AHEAD:
            left = until - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, pause_s))

    async def _read(self, reader: BusReader, cursor: str) -> _Found:
        while True:
            canary_at = self._canary_at
            try:
                return _Found(await reader.read(cursor, BATCH, READ_WAIT_S), reader.gaps(), canary_at)
            except Unavailable as error:
                log.warning("bus_unavailable", source=reader.name, reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def _draft_ahead(self, source: str, step: _Step) -> None:
        """In a backlog, make ready what is to be written while the step before it is being written."""
        writing = self._writing
        alone = writing is not None and writing.source == source and self._busy <= {source}
        if writing is None or not alone or len(step.events) < AHEAD:
            return
        try:
            await self._drafter.draft_ahead(writing, step.cursor, step.events, step.rejected)
        except Unavailable as error:
            log.warning("history_unavailable", reason=str(error))

    async def _relay_all(self, reader: BusReader, ahead: "asyncio.Queue[_Step]") -> None:
        while True:
            step = await ahead.get()
            if reader.reads_ahead:
                ahead.task_done()
                await self._carry(reader, step)
            else:
                await self._carry(reader, step)
                ahead.task_done()

    async def _carry(self, reader: BusReader, step: _Step) -> None:
        for gap in step.gaps:
            await self._announce(gap)
        if step.entries:
            self._busy.add(reader.name)
            await self._relay(reader.name, step)
        else:
            self._busy.discard(reader.name)
            if reader.durable and step.canary_at == self._canary_at:
                # Whoever emptied the bus took the canary as well.
                self._canary_at = 0.0
        if self._busy:
            self._drained.clear()
        else:
            self._drained.set()

    async def _announce(self, gap: BusGap) -> None:
        """Say what an input could not read; what it read next comes after the gap."""
        log.error("bus_gap", source=gap.source, reason=gap.reason, count=gap.count, since=gap.since, until=gap.until)
        self.counters.gaps += 1
        self.counters.missed += gap.count or 0
        try:
            await self._sender.announce(gap)
        except Unavailable as error:
            log.warning("group_unavailable", reason=str(error))

    async def _relay(self, source: str, step: _Step) -> None:
        # What is left on the bus behind a full batch is no older than its last document.
        self._under_way[source] = step.entries[0].at
        async with self._turn:
            await self._append(source, step)
        self._under_way[source] = step.entries[-1].at if len(step.entries) == BATCH else 0.0
        # Once what comes next is on its way: nobody waits for figures.
        asyncio.get_running_loop().call_soon(self._count, step)
        if len(step.events) + len(step.rejected) < len(step.entries):
            await self._pass_on_canary()

    def _count(self, step: _Step) -> None:
        self.counters.received += len(step.events)
        self.counters.rejected += len(step.rejected)
        now = self._clock()
        for at, count in Counter([entry.at for entry in step.entries if entry.at and not entry.canary]).items():
            observe(self.counters.labelled, "bus", now - at, count)
        for kind, count in Counter([_counted_type(event) for event in step.events]).items():
            self.counters.count("events", kind, count)

    def _checked(self, source: str, found: _Found) -> _Step:
        events, rejected = self._check(source, [entry for entry in found.entries if not entry.canary])
        return _Step(found.entries, events, rejected, found.gaps, found.canary_at)

    def _check(self, source: str, documents: Sequence[BusEntry]) -> tuple[list[Event], list[DeadLetter]]:
        events: list[Event] = []
        rejected: list[DeadLetter] = []
        for entry in documents:
            try:
                events.append(parse_event(entry.document, self._limits, entry.at))
            except InvalidEvent as error:
                document, size = entry.document[: self._limits.max_bytes], len(entry.document)
                execution_id = execution_id_of(document)
                log.warning("event_rejected", source=source, field=error.field, reason=error.message, execution_id=execution_id)
                rejected.append(DeadLetter(source, error.field, error.message, document, self._clock(), size))
        return events, rejected

    async def _append(self, source: str, step: _Step) -> None:
        """Write one step and send it on; an outage only delays it, and never makes it happen twice."""
        doubtful, cursor, events = False, step.cursor, step.events
        while True:
            before = self._position
            try:
                append = await self._drafter.draft(self._fence, before, source, cursor, events, step.rejected)
                written = await self._write(append)
            except Moved as moved:
                # A step without an answer may also be taken late: after we looked, and before it was repeated.
                if doubtful and await self._was_taken(before, source, cursor, len(events)):
                    return
                log.warning("history_moved", expected=before.number, found=moved.position.number, epoch=moved.position.epoch)
                self._position = moved.position
                await self._drafter.forget()
                continue
            except Unavailable as error:
                log.warning("history_unavailable", reason=str(error))
                doubtful = True
                await asyncio.sleep(RETRY_S)
                if await self._was_taken(before, source, cursor, len(events)):
                    return
                continue
            if written:
                epoch = before.epoch
                self._position = Position(epoch, written[-1].number)
                traces = self._tracer.relayed(source, events, written)
                await self._send(Batch(epoch, written[0].number, written, step.entries[0].at, self._clock(), traces))
                self._tracer.sent()
            return

    async def _write(self, append: Append) -> Sequence[Entry]:
        self._writing = append
        try:
            return await self._history.append(append)
        finally:
            self._writing = None

    async def _was_taken(self, before: Position, source: str, cursor: str, events: int) -> bool:
        """Whether a step whose answer was lost was taken. The hubs find it in the journal by the next heartbeat then.

        Nobody else writes while we lead, so the input's cursor, or the position where there is no cursor, tells.
        """
        after = await _retry(self._history.position)
        if cursor:
            taken = await _retry(lambda: self._history.cursor(source)) == cursor
        else:
            taken = events > 0 and after == Position(before.epoch, before.number + events)
        if taken:
            self._position = after
        return taken

    async def _send(self, batch: Batch) -> None:
        try:
            await self._sender.send(batch)
        except Unavailable as error:
            # The journal has the batch; the hubs will read it there.
            log.warning("group_unavailable", reason=str(error))


def _counted_type(event: Event) -> str:
    """The type under which an event is counted: a publisher may invent any number of types."""
    kind: str = event.fields["type"]
    return kind if kind in KNOWN_TYPES else "other"


def _waiting(reader: BusReader) -> int:
    """What waits for the relay in this process."""
    queue = reader.queue()
    return queue.waiting if queue is not None else 0


async def _retry(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer."""
    while True:
        try:
            return await ask()
        except Unavailable as error:
            log.warning("history_unavailable", reason=str(error))
            await asyncio.sleep(RETRY_S)
