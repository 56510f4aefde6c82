"""The hub: one per server process. Hears every event in one order, and hands each to the sessions that want it."""

import asyncio
import heapq
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import structlog

from events.domain.entry import Entry, Position
from events.domain.timestamps import iso
from events.domain.topics import subscription
from events.fanout.catch_up import CatchUp
from events.fanout.counters import Counters
from events.fanout.due import Due
from events.fanout.latency import CANARY, BatchTimes, observe
from events.fanout.recent_reader import RecentReader
from events.fanout.session import Session, Subscription
from events.fanout.topic import Topic
from events.fanout.wire import Delivery, Parcel, unsent
from events.ports import (
    Batch,
    BusGap,
    Canary,
    Emergency,
    History,
    NoTracer,
    Recent,
    Snapshot,
    TopicPage,
    Tracer,
    Unavailable,
)

log = structlog.get_logger("events")

#: Journal entries per read while a hole is filled.
PAGE = 500

#: Executions in one snapshot, those with the newest events.
SNAPSHOT_EXECUTIONS = 100

#: Audiences that are kept at hand; a step that would keep more begins anew.
UNIONS = 1_000

#: How often a client that is ahead of the hub looks whether the hub has come up.
REFRESH_S = 0.01

#: How much of a topic's last event is told to operators.
LAST_EVENT_BYTES = 2_048

#: Pause before the history is asked again after it could not be reached.
RETRY_S = 0.25

#: How long a subscription waits for a history that cannot be reached before the client is told.
TOPIC_TIMEOUT_S = 10.0


class Hub:
    """Topics to sessions.

    All changes happen on the event loop in steps that do not await, in the order of the journal. So whoever joins a topic
    gets the topic's buffer in the same step in which it becomes a member: no event can fall between replay and live, and
    none can come twice.

    The group that brings the batches may lose, repeat and reorder them. Only the batch that continues the hub's position
    is taken; anything ahead of it makes the hub read the journal instead.
    """

    def __init__(self, history: History, recent_events: int, tracer: Tracer | None = None) -> None:
        self._history = history
        self._tracer = tracer or NoTracer()
        self._recent_events = recent_events
        self._topics: dict[str, Topic] = {}
        self._loading: dict[str, asyncio.Future[None]] = {}
        #: The audiences of events with several topics that somebody listens to, by all the topics of the event.
        self._unions: dict[tuple[str, ...], frozenset[Session]] = {}
        self._ready = asyncio.Event()
        self._behind = asyncio.Event()
        self._recent_reader = RecentReader(history)
        self.catch_up = CatchUp(self, history)
        self.sessions: dict[str, Session] = {}
        self.position = Position("", 0)
        #: Monotonic time of the last sign of life from the group; 0 before the first.
        self.heard_at = 0.0
        #: The last canary, and the monotonic time at which it came; 0 before the first.
        self.canary: Canary | None = None
        self.canary_at = 0.0
        #: The platform's emergency state, as far as this process knows (`events.fanout.emergency`).
        self.emergency = Emergency()
        self._counters = Counters()
        self._times = BatchTimes(self._counters.labelled)
        self._gaps = 0
        #: Whether the group brought something that was left to the repair which is under way.
        self._left = False
        #: Set when a client came or went, or something changed of it but its traffic; for whoever reports that.
        self.changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the hub knows the history's position; until then subscriptions wait."""
        return self._ready.is_set()

    @property
    def counters(self) -> Counters:
        """What this process has counted until now."""
        self._times.count()
        return self._counters

    # -- what the group brings ------------------------------------------------------------------------------------------

    def receive(self, batch: Batch) -> None:
        """Take a batch from the group if it continues what is known; otherwise have the journal read."""
        self.heard_at = time.monotonic()
        here = self.position
        if batch.epoch == here.epoch and batch.first + len(batch.entries) - 1 <= here.number:
            return
        if self._behind.is_set() or batch.epoch != here.epoch or batch.first > here.number + 1:
            # Also while a hole is being filled: the journal has this batch too, and order is safe that way.
            self._left = True
            self._behind.set()
            return
        heard = time.time()
        fresh = batch.entries[here.number + 1 - batch.first :]
        self._apply(fresh)
        self._times.note(batch.published, batch.relayed, heard, time.time(), len(fresh))
        if batch.traces:
            self._trace(batch, here.number, heard)

    def _trace(self, batch: Batch, after: int, heard: float) -> None:
        """Tell of the events whose way is recorded and that somebody here wants."""
        for trace in batch.traces:
            entry = batch.entries[trace.number - batch.first]
            found = [self._topics[name] for name in entry.topics if name in self._topics]
            if trace.number > after and found:
                clients = len(self._audience(entry, found, Delivery(entry)))
                self._tracer.delivered(trace, batch.relayed, heard, clients)

    def receive_heartbeat(self, position: Position) -> None:
        """Compare positions with the relay: what it has and we have not was lost on the way."""
        self.heard_at = time.monotonic()
        here = self.position
        # Behind us is as wrong as ahead of us: then the history has lost its end.
        if position != here:
            self._behind.set()

    def receive_gap(self, gap: BusGap) -> None:
        """Tell every subscriber of events that the bus lost: nobody can know whose they were."""
        self.heard_at = time.monotonic()
        times = {name: iso(at) if at is not None else None for name, at in (("since", gap.since), ("until", gap.until))}
        body = {"type": "bus", "source": gap.source, "reason": gap.reason, "count": gap.count} | times
        for session in list(self.sessions.values()):
            if session.topics:
                session.tell_missed(body)

    def receive_canary(self, canary: Canary) -> None:
        """The way from the bus to here is open."""
        self.heard_at = self.canary_at = time.monotonic()
        self.canary = canary
        observe(self._counters.labelled, CANARY, time.time() - canary.published)

    def _apply(self, entries: Sequence[Entry]) -> None:
        """Hand consecutive entries to the sessions. The hot path: nothing here waits, encodes or logs per delivery."""
        due = Due()
        # Where nobody listens, the number is all that is left of an event.
        for entry in entries if self._topics else ():
            found: list[Topic] = []
            for name, offset in zip(entry.topics, entry.offsets, strict=True):
                topic = self._topics.get(name)
                if topic is not None:
                    topic.add(entry, offset)
                    found.append(topic)
            if found:
                delivery = Delivery(entry)
                audience = self._audience(entry, found, delivery)
                self._counters.bytes += len(entry.document) * len(audience)
                due.add(audience, delivery)
        self.position = Position(self.position.epoch, entries[-1].number)
        self._deliver(due.parcels())

    def _audience(self, entry: Entry, found: Sequence[Topic], delivery: Delivery) -> AbstractSet[Session]:
        """Who wants an event. A client may have joined several of its topics; it gets one copy."""
        if len(found) == 1:
            return found[0].recipients(delivery)
        # Uniting sets costs as much per client as writing to a socket does in part; most events follow one with the same
        # topics, so the union is kept until somebody joins or leaves. With filters it depends on the event's type as well.
        audience = self._unions.get(entry.topics)
        if audience is None:
            audience = frozenset().union(*(topic.recipients(delivery) for topic in found))
            if not any(topic.filtered for topic in found):
                self._keep_union(entry.topics, audience)
        return audience

    def _keep_union(self, topics: tuple[str, ...], audience: frozenset[Session]) -> None:
        if len(self._unions) >= UNIONS:
            self._unions.clear()
        self._unions[topics] = audience

    def _deliver(self, due: Iterable[tuple[Session, Parcel]]) -> None:
        """Nearly always a socket takes what it is given. Then the socket's own `send` is all that is called per client: each
        further call, and each further object that is looked at, shows in what a delivery costs."""
        sent, shared, dialect, frame = 0, None, None, b""
        for session, parcel in due:
            pipe = session.pipe
            send = pipe.direct
            if send is None or session.cursor is not None:
                sent += self._offer(session, parcel)
                continue
            if parcel is not shared or session.dialect is not dialect:
                shared, dialect = parcel, session.dialect
                frame = parcel.bundle(dialect).frame
            try:
                taken = send(frame)
            except OSError:
                taken = 0  # It is full, or the connection is lost: the pipe knows what to do.
            if taken != len(frame):
                pipe.write(unsent(frame[taken:]))
            session.sent += parcel.count
            sent += parcel.count
        self._counters.sent += sent

    def _offer(self, session: Session, parcel: Parcel) -> int:
        """How many deliveries a client took that may have too much unsent, or lag already."""
        if session.lagging:
            return 0
        if session.deliver(parcel):
            return parcel.count
        self.catch_up.lag(session, parcel.deliveries)
        return 0

    # -- sessions -------------------------------------------------------------------------------------------------------

    def add(self, session: Session) -> None:
        """Take a new client in."""
        self.sessions[session.sid] = session
        self._counters.connections += 1
        self.changed.set()

    def remove(self, session: Session) -> None:
        """Forget a client whose connection ended."""
        session.close()
        self.sessions.pop(session.sid, None)
        self.catch_up.forget(session)
        for topic in list(session.topics):
            self.leave(session, topic)
        self.changed.set()

    async def open(self, name: str) -> bool:
        """Make a topic's buffer complete and hold it until `join` or `release` is called, one of them exactly once.

        Returns whether it had to be waited for.
        Raises `Unavailable` when the history cannot be reached for `TOPIC_TIMEOUT_S`; nothing is held then.
        """
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name, self._recent_events)
            self._loading[name] = asyncio.ensure_future(self._load(topic))
        topic.joining += 1
        loading = self._loading.get(name)
        try:
            if loading is not None:
                # Shielded: the read is shared by all who asked meanwhile, and one of them may go away.
                await asyncio.wait_for(asyncio.shield(loading), TOPIC_TIMEOUT_S)
        except TimeoutError:
            self.release(name)
            raise Unavailable("The event history cannot be reached.") from None
        except BaseException:
            self.release(name)
            raise
        return loading is not None

    @property
    def subscriptions(self) -> int:
        """Topics of all clients together."""
        return sum(len(topic.sessions) + len(topic.filtered) for topic in self._topics.values())

    def opened(self, name: str) -> Topic:
        """A topic that is held open."""
        return self._topics[name]

    def join(self, session: Session, name: str, types: frozenset[str] | None = None) -> Topic:
        """The step in which a client becomes a member: the buffer as it is now is its replay, all else comes live.

        Joining again changes nothing but the types.
        """
        topic = self._topics[name]
        topic.joining -= 1
        before = session.topics.get(name)
        session.topics[name] = Subscription(self.position.number if before is None else before.joined, types)
        topic.admit(session, types)
        self._unions.clear()
        if before is None and session.lagging:
            session.offsets[name] = topic.offset
        self.changed.set()
        return topic

    def release(self, name: str) -> None:
        """Let go of a topic that was opened but not joined."""
        topic = self._topics[name]
        topic.joining -= 1
        self._drop_if_idle(topic)

    def leave(self, session: Session, name: str) -> None:
        """Unsubscribe a client; does nothing when it was not subscribed."""
        session.topics.pop(name, None)
        session.offsets.pop(name, None)
        topic = self._topics.get(name)
        if topic is not None:
            topic.expel(session)
            self._unions.clear()
            self._drop_if_idle(topic)
            self.changed.set()

    async def refresh(self) -> None:
        """Come up to where the history is now. Raises `Unavailable` when that takes longer than `TOPIC_TIMEOUT_S`."""
        deadline = time.monotonic() + TOPIC_TIMEOUT_S
        there = await self._history.position()
        while self.position.epoch != there.epoch or self.position.number < there.number:
            if time.monotonic() > deadline:
                raise Unavailable("This server is behind the event history.")
            self._behind.set()
            await asyncio.sleep(REFRESH_S)

    async def since(self, name: str, offset: int, limit: int) -> Sequence[Entry]:
        """Entries of a topic after an offset, as far as the hub is; empty when nothing of them is kept."""
        page = await self._history.since(name, offset, limit)
        if page.epoch != self.position.epoch:
            return ()
        return [entry for entry in page.entries if entry.number <= self.position.number]

    async def snapshot(self, name: str) -> Snapshot:
        """The executions of a topic as the history has them, at one moment."""
        return await self._history.snapshot(name, SNAPSHOT_EXECUTIONS)

    def offset(self, name: str) -> int:
        """The offset of a topic that somebody listens to."""
        topic = self._topics.get(name)
        return topic.offset if topic is not None else 0

    def listened_topics(self, limit: int) -> list[tuple[str, int, int, int, str]]:
        """The topics with the most subscribers here: name, subscribers, offset, events in the buffer, text of the last one."""
        found = heapq.nlargest(limit, self._topics.values(), key=lambda topic: len(topic.sessions) + len(topic.filtered))
        return [
            (
                topic.name,
                len(topic.sessions) + len(topic.filtered),
                topic.offset,
                len(topic.buffer),
                topic.buffer[-1].document[:LAST_EVENT_BYTES].decode(errors="replace") if topic.buffer else "",
            )
            for topic in found
        ]

    def _drop_if_idle(self, topic: Topic) -> None:
        """Buffers are kept for topics that somebody listens to; any other is read from history when it is wanted."""
        if topic.idle:
            self._topics.pop(topic.name, None)
            loading = self._loading.pop(topic.name, None)
            if loading is not None:
                loading.cancel()

    # -- history --------------------------------------------------------------------------------------------------------

    async def _load(self, topic: Topic) -> None:
        try:
            await self._ready.wait()
            while True:
                gaps = self._gaps
                try:
                    recent = await self._recent_reader.read(topic.name)
                except Unavailable:
                    await asyncio.sleep(RETRY_S)
                    continue
                # What was read before the hub crossed a gap may end on the far side of it.
                if gaps == self._gaps:
                    break
            self._merge(topic, recent)
        finally:
            if self._loading.get(topic.name) is asyncio.current_task():
                del self._loading[topic.name]

    def _merge(self, topic: Topic, recent: Recent) -> None:
        """Make a buffer complete up to the hub's position, neither less nor more.

        While the history was read, live entries may have come (they are in the topic's buffer already), and the history
        may be ahead of the hub (those entries are still to come live, so they are left out here).
        """
        if recent.epoch != self.position.epoch:
            self._behind.set()
            return
        here = self.position.number
        known = {entry.number: entry for entry in (*recent.entries, *topic.buffer) if entry.number <= here}
        ahead = sum(1 for entry in recent.entries if entry.number > here)
        topic.load([known[number] for number in sorted(known)], recent.offset - ahead)

    async def run(self) -> None:
        """Find the history's position, then fill every hole that is noticed, for ever."""
        while True:
            try:
                if not self.ready:
                    self.position = await self._history.position()
                    self._ready.set()
                await self._behind.wait()
                await self._repair()
            except Unavailable as error:
                log.warning("history_unavailable", reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def _repair(self) -> None:
        """Read the journal from the hub's position until nothing is missing."""
        self._counters.repairs += 1
        read = 0
        while True:
            here = self.position
            self._left = False
            page = await self._history.read(here.number, PAGE)
            if page.epoch != here.epoch:
                self._start_over(page.epoch)
            elif page.number < here.number:
                # Somebody restored an older history. What we have seen is proof enough to begin a new epoch.
                self._start_over((await self._history.witness(here)).epoch)
            elif page.number == here.number:
                if self._left:
                    continue  # It came after the journal was read, and before we had the answer.
                break
            elif not page.entries or page.entries[0].number > here.number + 1:
                await self._skip_to(page.entries[0].number - 1 if page.entries else page.number)
            else:
                read += len(page.entries)
                self._apply(page.entries)
        self._behind.clear()
        log.info("journal_read", entries=read, number=self.position.number)

    def _start_over(self, epoch: str) -> None:
        """The history was lost and began anew: so do we, from its first entry, and every subscriber is told."""
        log.error("history_lost", was=self.position.epoch, now=epoch)
        self.position = Position(epoch, 0)
        for name, topic in self._topics.items():
            topic.load((), 0)
            self._tell_missed(topic.members(), name, None, None, "history_lost")
        for session in self.sessions.values():
            session.topics = {name: Subscription(0, subscription.types) for name, subscription in session.topics.items()}
            self.catch_up.forget(session)

    async def _skip_to(self, number: int) -> None:
        """The journal does not reach back to our position. Whoever wanted what lies between gets what the recent buffers
        still hold of it, and is told of the rest."""
        log.error("journal_gap", first=self.position.number + 1, last=number)
        pages: dict[Topic, TopicPage] = {}
        # Topics may be opened while we read. All of them are taken across in one step.
        while unread := [t for t in self._topics.values() if t.name not in self._loading and t not in pages]:
            for topic in unread:
                pages[topic] = await self._history.since(topic.name, topic.offset, self._recent_events + 1)
        self.position = Position(self.position.epoch, number)
        self._gaps += 1
        due: dict[Session, dict[int, Delivery]] = {}
        for topic, page in pages.items():
            if page.epoch == self.position.epoch:
                fresh = [Delivery(entry) for entry in self._cross(topic, page)]
                for session in topic.members():
                    wanted = [delivery for delivery in fresh if session.topics[topic.name].wants(delivery)]
                    due.setdefault(session, {}).update((delivery.entry.number, delivery) for delivery in wanted)
        self._deliver((session, _parcel(found)) for session, found in due.items() if found)

    def _cross(self, topic: Topic, page: TopicPage) -> list[Entry]:
        """Bring a topic across a gap that ends at the hub's position. Returns what is left of it, and tells of the rest."""
        served = topic.offset
        fresh = [entry for entry in page.entries if entry.number <= self.position.number]
        if fresh:
            offset = topic.offset_of(fresh[-1])
        elif page.entries:
            offset = topic.offset_of(page.entries[0]) - 1
        else:
            offset = page.offset
        missed = offset - served - len(fresh)
        if missed > 0:
            live = [session for session in topic.members() if not session.lagging]
            self._tell_missed(live, topic.name, served + 1, served + missed, "history_trimmed")
        # A buffer has no holes.
        topic.load(fresh if missed > 0 else [*topic.buffer, *fresh], offset)
        return fresh

    def _tell_missed(self, sessions: Iterable[Session], name: str, first: int | None, last: int | None, reason: str) -> None:
        for session in list(sessions):
            session.tell_missed(self.missed(name, first, last, reason))

    def missed(self, name: str, first: int | None, last: int | None, reason: str) -> dict[str, object]:
        """What `events_missed` tells: the topic, the range of its offsets (null: unknown), and why."""
        return subscription(name) | {"from": first, "to": last, "reason": reason, "epoch": self.position.epoch}


def _parcel(found: Mapping[int, Delivery]) -> Parcel:
    """All of them, by their numbers."""
    first, *rest = (found[number] for number in sorted(found))
    return Parcel(first).followed_by(rest)
