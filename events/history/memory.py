"""The history within one process."""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeVar

from events.conf import HistoryLimits
from events.domain.entry import Entry, Position, stamp
from events.domain.event import Event
from events.domain.execution import Execution, encode
from events.domain.sizes import PAGE_BYTES, count_within
from events.domain.topics import ALL
from events.history.memory_dead_letters import MemoryDeadLetters
from events.history.memory_executions import MemoryExecutions
from events.history.topic_index import TopicIndex, offset_in
from events.ports import Append, DeadLetter, FencedOut, JournalPage, Moved, Queue, Recent, Snapshot, TopicPage

#: Topics whose recent buffer is kept. The topic that had no event for longest gives way.
MAX_RECENT_BUFFERS: Final = 10_000

#: Topics whose offset is kept. One that gives way starts again at 1.
MAX_OFFSETS: Final = 1_000_000


@dataclass(slots=True)
class _Buffer:
    """`touched` is when the last event came."""

    entries: deque[Entry]
    touched: float = 0.0


@dataclass(slots=True)
class _Offset:
    value: int = 0
    touched: float = 0.0


_Touched = TypeVar("_Touched", _Buffer, _Offset)


@dataclass(slots=True)
class _Journal:
    """Entries by number, all from `first` to `last`; `marks` say at which time which number had been written."""

    first: int = 1
    last: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)
    marks: deque[tuple[float, int]] = field(default_factory=deque)
    index: TopicIndex = field(default_factory=TopicIndex)

    def add(self, entries: Sequence[Entry], now: float) -> None:
        for entry in entries:
            self.entries[entry.number] = entry
        self.index.add(entries)
        if entries:
            self.last = entries[-1].number
            self.marks.append((now, self.last))

    def page(self, after: int, limit: int) -> list[Entry]:
        start = max(after + 1, self.first)
        return [self.entries[number] for number in range(start, min(start + limit, self.last + 1))]

    def drop_before(self, first: int) -> int:
        dropped = max(0, first - self.first)
        for number in range(self.first, self.first + dropped):
            self.index.drop(self.entries.pop(number))
        self.first += dropped
        while self.marks and self.marks[0][1] < self.first:
            self.marks.popleft()
        return dropped


class MemoryHistory:
    """Each step is atomic because it is taken without an `await`. Bounded by the limits and the two constants above.

    `clock` gives Unix time in seconds.
    """

    def __init__(
        self,
        limits: HistoryLimits,
        clock: Callable[[], float] = time.time,
        *,
        max_recent_buffers: int = MAX_RECENT_BUFFERS,
        max_offsets: int = MAX_OFFSETS,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._max_recent_buffers = max_recent_buffers
        self._max_offsets = max_offsets
        self._fence = 0
        self._cursors: dict[str, str] = {}
        self._rejected = MemoryDeadLetters(limits)
        self._begin_epoch()

    async def append(self, batch: Append) -> list[Entry]:
        """As the port says. A writer that has seen more than there is proves that the end was lost: a new epoch begins."""
        self._check(batch)
        now = self._clock()
        entries = [self._place(event, number, now) for number, event in enumerate(batch.events, self._journal.last + 1)]
        self._journal.add(entries, now)
        self._journal.drop_before(self._journal.last + 1 - self._limits.journal_events)
        self._rejected.add(batch.rejected)
        self._executions.put(batch.executions, now)
        if batch.cursor:
            self._cursors[batch.source] = batch.cursor
        self._fence = batch.fence
        self._forget_topics(now)
        return entries

    def prepare(self, batch: Append) -> None:
        """Nothing: there is no store to wait for."""

    async def cursor(self, source: str) -> str:
        return self._cursors.get(source, "")

    async def position(self) -> Position:
        return Position(self._epoch, self._journal.last)

    async def witness(self, position: Position) -> Position:
        self._learn(position)
        return await self.position()

    async def read(self, after: int, limit: int) -> JournalPage:
        return JournalPage(self._epoch, self._journal.page(after, limit), self._journal.last)

    async def recent(self, topics: Sequence[str]) -> list[Recent]:
        """The recent buffer of `all` is the end of the journal."""
        now = self._clock()
        return [self._recent(topic, now) for topic in topics]

    async def since(self, topic: str, offset: int, limit: int) -> TopicPage:
        [recent] = await self.recent([topic])
        entries = self._reached(topic, max(offset, 0), limit, recent) if offset < recent.offset else []
        fitting = count_within((len(entry.document) for entry in entries), PAGE_BYTES)
        return TopicPage(self._epoch, recent.offset, entries[:fitting])

    async def executions(self, ids: Sequence[str]) -> list[Execution | None]:
        now = self._clock()
        return [self._executions.get(execution_id, now) for execution_id in ids]

    async def snapshot(self, topic: str, limit: int, status: str | None = None) -> Snapshot:
        """Fewer executions when their states have more than a few megabytes, but never none while there are some."""
        now = self._clock()
        found = (state for state in self._executions.of_topic(topic, now) if status is None or state.status == status)
        states = list(islice(found, limit))
        fitting = count_within((len(encode(state)) for state in states), PAGE_BYTES)
        return Snapshot(self._epoch, self._offset(topic, now), self._journal.last, states[:fitting])

    async def trim(self, now: float) -> int:
        cutoff = now - self._limits.journal_age_s
        old = [number for written, number in self._journal.marks if written < cutoff]
        return self._journal.drop_before(old[-1] + 1) if old else 0

    async def rejected(self, limit: int, before: str = "") -> list[DeadLetter]:
        return self._rejected.newest(limit, before)

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        return self._rejected.get(letter_id)

    async def discard(self, letter_id: str) -> bool:
        return self._rejected.discard(letter_id)

    async def fill(self) -> dict[str, Queue]:
        return {
            "journal": Queue(self._limits.journal_events, len(self._journal.entries)),
            "dead_letters": Queue(self._limits.dead_letters, len(self._rejected)),
        }

    async def close(self) -> None:
        """Nothing to close."""

    def _begin_epoch(self) -> None:
        self._epoch = secrets.token_hex(8)
        self._journal = _Journal()
        self._executions = MemoryExecutions(self._limits)
        self._buffers: OrderedDict[str, _Buffer] = OrderedDict()
        self._offsets: OrderedDict[str, _Offset] = OrderedDict()

    def _check(self, batch: Append) -> None:
        if batch.fence < self._fence:
            raise FencedOut(f"fencing token {batch.fence} is older than {self._fence}")
        self._learn(batch.expected)
        position = Position(self._epoch, self._journal.last)
        if batch.expected != position:
            raise Moved(position)

    def _learn(self, seen: Position) -> None:
        if seen.epoch == self._epoch and seen.number > self._journal.last:
            self._begin_epoch()

    def _place(self, event: Event, number: int, now: float) -> Entry:
        offsets = [number if topic == ALL else self._next_offset(topic, now) for topic in event.topics]
        entry = stamp(event, Position(self._epoch, number), offsets)
        for topic in event.topics:
            if topic != ALL:
                self._buffer(topic, now).entries.append(entry)
        return entry

    def _next_offset(self, topic: str, now: float) -> int:
        offset = self._offsets.get(topic)
        if offset is None or now - offset.touched >= self._limits.offset_ttl_s:
            offset = self._offsets[topic] = _Offset()
            self._buffers.pop(topic, None)
            self._journal.index.forget(topic)
        self._offsets.move_to_end(topic)
        offset.value += 1
        offset.touched = now
        return offset.value

    def _buffer(self, topic: str, now: float) -> _Buffer:
        buffer = self._buffers.get(topic)
        if buffer is None or now - buffer.touched >= self._limits.recent_ttl_s:
            buffer = self._buffers[topic] = _Buffer(deque(maxlen=self._limits.recent_events))
        self._buffers.move_to_end(topic)
        buffer.touched = now
        return buffer

    def _offset(self, topic: str, now: float) -> int:
        if topic == ALL:
            return self._journal.last
        offset = self._offsets.get(topic)
        return offset.value if offset and now - offset.touched < self._limits.offset_ttl_s else 0

    def _recent(self, topic: str, now: float) -> Recent:
        if topic == ALL:
            last = self._journal.last
            return Recent(self._epoch, last, self._journal.page(last - self._limits.recent_events, self._limits.recent_events))
        number, buffer = self._offset(topic, now), self._buffers.get(topic)
        fresh = buffer is not None and number and now - buffer.touched < self._limits.recent_ttl_s
        return Recent(self._epoch, number, list(buffer.entries) if buffer and fresh else [])

    def _reached(self, topic: str, offset: int, limit: int, recent: Recent) -> list[Entry]:
        """What the journal has, or what the recent buffer has when that reaches further back."""
        if topic == ALL:
            return self._journal.page(offset, limit)
        in_journal = self._journal.index.after(topic, offset, limit)
        in_recent = [entry for entry in recent.entries if offset_in(entry, topic) > offset][:limit]
        if in_journal and in_recent:
            return min(in_journal, in_recent, key=lambda entries: entries[0].number)
        return in_journal or in_recent

    def _forget_topics(self, now: float) -> None:
        """Both maps are in order of last use, so what has expired or is too much is at the front."""
        _shrink(self._buffers, self._max_recent_buffers, now - self._limits.recent_ttl_s)
        _shrink(self._offsets, self._max_offsets, now - self._limits.offset_ttl_s)


def _shrink(topics: OrderedDict[str, _Touched], most: int, oldest: float) -> None:
    while topics:
        topic, front = next(iter(topics.items()))
        if len(topics) <= most and front.touched > oldest:
            return
        del topics[topic]
