"""The event bus on a Redis Stream: durable, and the way recommended to executors."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import structlog

from events.bus.gap_log import GapLog
from events.domain.sizes import READ_BYTES
from events.ports import BusEntry, BusGap, Queue
from events.redis_link import Keys, RedisLink

log = structlog.get_logger(__name__)

_READ: Final = Path(__file__).with_name("read_stream.lua").read_text(encoding="utf-8")

#: Before the first entry of any stream.
START: Final = "0-0"

#: Unix time at which this century began.
_CENTURY: Final = 946_684_800.0

#: The field of a stream entry that holds the event's JSON text.
FIELD: Final = "event"

#: The field of an entry that is a canary.
CANARY: Final = "canary"


class RedisStreamBus:
    """Adds documents to the stream. Its oldest entries are trimmed, read or not, above about `events`."""

    def __init__(self, link: RedisLink, keys: Keys, events: int) -> None:
        self._link = link
        self._keys = keys
        self._events = events

    async def publish(self, documents: Sequence[bytes]) -> list[str]:
        """All of the documents or none. After `Unavailable` they may be there all the same: the reply may be what was lost."""
        added = await self._link.atomically(
            ("XADD", self._keys.bus, "MAXLEN", "~", self._events, "*", FIELD, document) for document in documents
        )
        return [identifier.decode() for identifier in added]

    async def publish_canary(self, *, trim: bool) -> None:
        """Who else reads the stream sees an entry without the field `event`."""
        bound = ("MAXLEN", "~", self._events) if trim else ()
        await self._link.call("XADD", self._keys.bus, *bound, "*", CANARY, "")

    async def fill(self) -> dict[str, Queue]:
        return {"stream": Queue(self._events, int(await self._link.call("XLEN", self._keys.bus)))}

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""


class _Place(NamedTuple):
    """Between two entries of the stream; as a cursor `<id>/<count>`, or the id alone where nobody counts.

    identifier: id of the entry before it
    added:      how many entries had been added to the stream up to that one since it was created; None when not known
    """

    identifier: str
    added: int | None = None

    @classmethod
    def of(cls, cursor: str) -> Self:
        identifier, _, count = cursor.partition("/")
        return cls(identifier or START, int(count) if count else None)

    @property
    def cursor(self) -> str:
        return self.identifier if self.added is None else f"{self.identifier}/{self.added}"

    @property
    def is_start(self) -> bool:
        return self.identifier == START and not self.added


class _Glimpse(NamedTuple):
    """What `read_stream.lua` saw at one moment; `added` is None on a Redis before version 7."""

    added: int | None
    length: int
    last: str
    oldest: str
    oldest_document: bytes
    ended: bool
    entries: list[tuple[str, bytes | int]]

    @classmethod
    def of(cls, reply: Sequence[Any]) -> Self:
        added, length, last, oldest, document, ended, *found = reply
        entries = [(identifier.decode(), text) for identifier, text in zip(found[::2], found[1::2], strict=True)]
        return cls(int(added) if added else None, length, last.decode(), oldest.decode(), document, bool(ended), entries)

    def is_behind(self, place: _Place) -> bool:
        """True when the stream cannot be the one, or not all of the one, in which that place was."""
        fewer = self.added is not None and place.added is not None and self.added < place.added
        return fewer or _order(self.last) < _order(place.identifier)

    def count_before(self, place: _Place) -> int | None:
        """How many entries had been added before the first one that was read, or would be read next."""
        if self.added is None:
            return None
        if self.ended:
            return self.added - len(self.entries)
        if place.added is None and place.identifier != START:
            return None
        # Entries deleted from the middle count as if they had been the oldest. It shows at the end of the stream.
        return max(place.added or 0, self.added - self.length)


class RedisStreamReader:
    """The relay's input from the stream. The cursor is the id of an entry, and how many had been added up to it.

    Redis 7 counts what was ever added to a stream, so that each entry that left it unread is told as a gap, and counted. What
    was deleted from the middle (XDEL) before it was read is counted too, at the latest when the end of the stream is reached.
    Older Redis versions tell nothing of the kind, nor is anything told before there was a first cursor.

    When the stream turns out to be another one than the cursor is from, it is read from its beginning. When it is the same but
    lost its end (Redis came back with an older file), reading goes on after what had been read. Which of the two it is tells
    an entry that this reader saw before; a reader that is made after the loss, with a cursor from before it, takes it for
    another one.

    An entry without the field `event` is handed over as an empty document, which no validation accepts.
    """

    name = "stream"
    durable = True
    reads_ahead = True

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        self._line = link.line()
        self._script = link.script(_READ)
        self._gaps = GapLog()
        # Where reading really goes on from the cursor that was given last: what has been told is not told again.
        self._known = ("", _Place(START))
        # The cursor at which the stream ended when it was last read: what comes next is waited for at once.
        self._end: str | None = None
        # Id and checksum of the stream's oldest entry.
        self._oldest: tuple[str, int] | None = None

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        """May be cancelled at any time: reading takes nothing off the stream."""
        if cursor != self._end or wait_s <= 0:
            entries = await self._read_now(cursor, limit)
            if entries or wait_s <= 0:
                return entries
        # To Redis, BLOCK 0 means for ever.
        command = ("XREAD", "COUNT", 1, "BLOCK", max(1, round(wait_s * 1000)), "STREAMS", self._keys.bus)
        # Also when nothing came: only a look shows that the stream is not what it was.
        return await self._read_now(cursor, limit, (*command, self._place(cursor).identifier), wait_s)

    def gaps(self) -> list[BusGap]:
        """`trimmed` with a count, or `recreated`. Times are those in the ids of the entries around the gap."""
        return self._gaps.take()

    def queue(self) -> None:
        """None: the stream keeps what is not read yet, up to its cap."""

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""

    async def _read_now(self, cursor: str, limit: int, wait: Sequence[Any] = (), wait_s: float = 0.0) -> list[BusEntry]:
        """What is there, or once the command `wait` has been answered, within `wait_s`."""
        place = self._place(cursor)
        while True:
            glimpse, wait = await self._look(place, limit, wait, wait_s), ()
            if glimpse is not None and not glimpse.is_behind(place):
                return self._taken(cursor, place, glimpse)
            if glimpse is None and place.is_start:
                self._known = (cursor, _Place(START, 0))
                return []
            place = await self._found_again(cursor, place, glimpse)
            if glimpse is None:
                return []

    def _place(self, cursor: str) -> _Place:
        known, place = self._known
        return place if known == cursor else _Place.of(cursor)

    async def _look(self, place: _Place, limit: int, wait: Sequence[Any], wait_s: float) -> _Glimpse | None:
        """None when there is no stream."""
        oldest = self._oldest[0] if self._oldest else ""
        args = (place.identifier, limit, READ_BYTES, FIELD, oldest, CANARY)
        reply = await self._line.run(self._script, (self._keys.bus,), args, wait=wait, wait_s=wait_s)
        return _Glimpse.of(reply) if reply else None

    def _taken(self, cursor: str, place: _Place, glimpse: _Glimpse) -> list[BusEntry]:
        if glimpse.oldest and (self._oldest is None or self._oldest[0] != glimpse.oldest):
            self._oldest = (glimpse.oldest, zlib.crc32(glimpse.oldest_document))
        before = glimpse.count_before(place)
        self._tell_missed(place, before, glimpse.entries)
        if before is None:
            self._known = (cursor, place)
            entries = [_entry(identifier, identifier, document) for identifier, document in glimpse.entries]
        else:
            self._known = (cursor, _Place(place.identifier, before))
            counted = enumerate(glimpse.entries, before + 1)
            entries = [_entry(f"{identifier}/{count}", identifier, document) for count, (identifier, document) in counted]
        if glimpse.ended:
            self._end = entries[-1].cursor if entries else cursor
        return entries

    def _tell_missed(self, place: _Place, before: int | None, entries: Sequence[tuple[str, bytes | int]]) -> None:
        if before is None or place.added is None or before == place.added:
            return
        if before < place.added:
            # More was read than can have been added: the stream was made anew and has outgrown the old one meanwhile.
            self._tell(BusGap(self.name, "recreated", since=_time(place.identifier)))
            return
        until = _time(entries[0][0]) if entries else None
        self._tell(BusGap(self.name, "trimmed", before - place.added, _time(place.identifier), until))

    async def _found_again(self, cursor: str, place: _Place, glimpse: _Glimpse | None) -> _Place:
        """Where to go on in a stream that is not as it was."""
        if glimpse is not None and await self._is_the_same():
            lost_own = _order(glimpse.last) < _order(place.identifier)
            mended = _Place(glimpse.last, glimpse.added) if lost_own else _Place(place.identifier)
        else:
            self._oldest = None
            mended = _Place(START, 0)
        self._known = (cursor, mended)
        self._tell(BusGap(self.name, "recreated", since=_time(place.identifier)))
        return mended

    async def _is_the_same(self) -> bool:
        if self._oldest is None:
            return False
        identifier, checksum = self._oldest
        found = await self._link.call("XRANGE", self._keys.bus, identifier, identifier)
        return bool(found) and zlib.crc32(found[0][1].get(FIELD.encode(), b"")) == checksum

    def _tell(self, gap: BusGap) -> None:
        log.error("bus_gap", source=gap.source, reason=gap.reason, count=gap.count, since=gap.since, until=gap.until)
        self._gaps.add(gap)


def _order(identifier: str) -> tuple[int, int]:
    """Ids in the order of the stream."""
    time_ms, _, sequence = identifier.partition("-")
    return int(time_ms), int(sequence or 0)


def _entry(cursor: str, identifier: str, document: bytes | int) -> BusEntry:
    if isinstance(document, int):
        return BusEntry(cursor, b"", _published(identifier), canary=True)
    return BusEntry(cursor, document, _published(identifier))


def _published(identifier: str) -> float:
    """The time in an id; 0 when whoever added the entry chose an id that is no time of this century."""
    at = int(identifier.partition("-")[0]) / 1000
    return at if at > _CENTURY else 0.0


def _time(identifier: str) -> float | None:
    """The time in an id that Redis made."""
    return None if identifier == START else _order(identifier)[0] / 1000
