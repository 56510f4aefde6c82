"""The history on Redis, shared by all processes. Redis Cluster is not supported: `append.lua` makes key names as it runs."""

import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgpack
import orjson

from events.conf import HistoryLimits
from events.domain.entry import Entry, Position, parse_entry
from events.domain.execution import Execution, decode, encode
from events.domain.sizes import PAGE_BYTES
from events.domain.topics import ALL
from events.history.lives import Renewals, life_ms
from events.history.placement import KnownOffsets, Placement
from events.history.read_queue import ReadQueue
from events.history.topic_index import offset_in
from events.ports import (
    Announcer,
    Append,
    Batch,
    DeadLetter,
    FencedOut,
    JournalPage,
    Moved,
    Queue,
    Recent,
    Sealed,
    Snapshot,
    TopicPage,
    Unavailable,
)
from events.redis_link import Keys, RedisLink

_APPEND: Final = Path(__file__).with_name("append.lua").read_text(encoding="utf-8")
_SINCE: Final = Path(__file__).with_name("since.lua").read_text(encoding="utf-8")
_SNAPSHOT: Final = Path(__file__).with_name("snapshot.lua").read_text(encoding="utf-8")
_WITNESS: Final = Path(__file__).with_name("witness.lua").read_text(encoding="utf-8")

#: Takes a dead letter off the stream, and its bytes off the sum.
_DISCARD: Final = """
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then
  return 0
end
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('DECRBY', KEYS[2], #found[2][8])
return 1
"""

#: How often a read starts over because the history was lost and began anew meanwhile.
_ATTEMPTS: Final = 5


class _Prepared(NamedTuple):
    """What one call of `append.lua` takes."""

    placement: Placement
    args: Sequence[Any]


class RedisHistory:
    """See `Keys` for what is kept where, and `append.lua` for the one step that writes.

    The journal may keep a hundred entries more than its cap: Redis drops them in blocks. What `trim` drops by age was
    written before an earlier call of `trim`, as those calls mark the time.

    Reads are pipelines, not transactions, as a Redis that is out of memory refuses the latter. What was read is of one epoch
    when the epoch was the same before and after.
    """

    def __init__(self, link: RedisLink, keys: Keys, limits: HistoryLimits, announcer: Announcer | None = None) -> None:
        """With an `announcer`, the group is told of a step by the script that takes it."""
        self._announcer = announcer
        self._link = link
        self._keys = keys
        self._limits = limits
        self._line = link.line()
        self._append = link.script(_APPEND)
        self._append_keys = (keys.history, keys.fence, keys.rejected, keys.rejected_bytes)
        self._since = link.script(_SINCE)
        self._snapshot = link.script(_SNAPSHOT)
        self._witness = link.script(_WITNESS)
        self._discard = link.script(_DISCARD)
        self._reads = ReadQueue(link.where)
        self._epoch = ""
        self._offsets = KnownOffsets()
        #: The offsets after the append that is under way, and what was prepared of the one after it.
        self._offsets_ahead: Mapping[str, int] = {}
        self._topics_renewed = Renewals(min(limits.recent_ttl_s, limits.journal_age_s, limits.offset_ttl_s))
        self._listings_renewed = Renewals(limits.execution_ttl_s)
        self._prepared: tuple[Append, _Prepared] | None = None
        self._bounds: Sequence[Any] = (
            limits.recent_events,
            life_ms(limits.recent_ttl_s),
            limits.journal_events,
            life_ms(limits.journal_age_s),
            life_ms(limits.offset_ttl_s),
            limits.dead_letters,
            limits.dead_letter_bytes,
        )
        self._execution_bounds: Sequence[Any] = (
            life_ms(limits.execution_ttl_s),
            limits.executions,
            limits.executions_per_topic,
        )

    async def append(self, batch: Append) -> list[Entry]:
        """As the port says. A writer that has seen more than there is proves that the end was lost: a new epoch begins.

        Events get their places here, from the offsets that were seen last, and the script takes them only when these are right.
        """
        for _ in range(_ATTEMPTS):
            placement, args = self._take_prepared(batch)
            self._offsets_ahead = after = placement.after
            reply: Sequence[Any] = (b"lost",)
            try:
                reply = await self._line.run(self._append, self._append_keys, args)
            finally:
                self._offsets_ahead = {}
                if reply[0] != b"ok":
                    self._forget_renewals()
            if reply[0] == b"offsets":
                self._offsets.learn(dict(zip(placement.before, map(int, reply[1:]), strict=True)))
                continue
            if reply[0] == b"fenced":
                raise FencedOut(f"fencing token {batch.fence} is older than {int(reply[1])}")
            if reply[0] == b"moved":
                raise Moved(Position(reply[1].decode(), int(reply[2])))
            self._offsets.learn(after)
            if self._announcer is not None and reply[1]:
                self._announcer.announced(Position(batch.expected.epoch, placement.entries[-1].number))
            return list(placement.entries)
        raise Unavailable(f"{self._link.where} lost the offsets of topics {_ATTEMPTS} times during one step")

    def prepare(self, batch: Append) -> None:
        """Place the events after those that are under way. If these are not taken, the script refuses the places."""
        self._prepared = batch, self._placed(batch)

    def _take_prepared(self, batch: Append) -> _Prepared:
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] is batch:
            return prepared[1]
        if prepared is not None:
            # What it would have renewed is not renewed.
            self._forget_renewals()
        return self._placed(batch)

    def _forget_renewals(self) -> None:
        self._topics_renewed.forget()
        self._listings_renewed.forget()

    def _placed(self, batch: Append) -> _Prepared:
        ahead, known = self._offsets_ahead, self._offsets

        def offset_of(topic: str) -> int:
            offset = ahead.get(topic)
            return known.get(topic, 0) if offset is None else offset

        placement = Placement.of(batch.events, batch.expected, offset_of)
        return _Prepared(placement, self._append_args(batch, placement, self._seal(batch, placement.entries)))

    def _seal(self, batch: Append, entries: Sequence[Entry]) -> Sealed | None:
        if self._announcer is None or not entries:
            return None
        told = Batch(batch.expected.epoch, entries[0].number, entries, batch.events[0].published, time.time())
        return self._announcer.seal(told)

    async def cursor(self, source: str) -> str:
        found = await self._link.call("HGET", self._keys.history, f"cursor:{source}")
        return found.decode() if found else ""

    async def position(self) -> Position:
        epoch, number = await self._link.call("HMGET", self._keys.history, "epoch", "number")
        if epoch is None:
            _, (epoch, number) = await self._link.atomically(
                [
                    ("HSETNX", self._keys.history, "epoch", secrets.token_hex(8)),
                    ("HMGET", self._keys.history, "epoch", "number"),
                ]
            )
        return Position(epoch.decode(), int(number or 0))

    async def witness(self, position: Position) -> Position:
        args = (position.epoch, position.number, secrets.token_hex(8))
        epoch, number = await self._witness((self._keys.history,), args)
        return Position(epoch.decode(), int(number))

    async def read(self, after: int, limit: int) -> JournalPage:
        for _ in range(_ATTEMPTS):
            epoch = await self._known_epoch()
            (before, number), found, present = await self._link.pipeline(
                [
                    ("HMGET", self._keys.history, "epoch", "number"),
                    ("XRANGE", self._keys.journal(epoch), f"{max(after, 0) + 1}-0", "+", "COUNT", limit),
                    ("HGET", self._keys.history, "epoch"),
                ]
            )
            if self._is_present(before) and self._is_present(present):
                entries = _entries(found)
                return JournalPage(epoch, entries, max(int(number or 0), entries[-1].number if entries else 0))
        raise self._restless()

    async def recent(self, topics: Sequence[str]) -> list[Recent]:
        """The recent buffer of `all` is the end of the journal. Each topic is whole in itself; events may come between two."""
        for _ in range(_ATTEMPTS):
            epoch = await self._known_epoch()
            present = ("HGET", self._keys.history, "epoch")
            commands = [command for topic in topics for command in self._recent_commands(epoch, topic)]
            before, *replies, after = await self._link.pipeline([present, *commands, present])
            if self._is_present(before) and self._is_present(after):
                return [_recent(epoch, *each) for each in zip(topics, replies[::2], replies[1::2], strict=True)]
        raise self._restless()

    async def since(self, topic: str, offset: int, limit: int) -> TopicPage:
        """One script, as what is read depends on the epoch, on the offset and on the index, and all have to fit together."""
        args = (self._keys.epochs, topic, max(offset, 0), limit, PAGE_BYTES)
        async with self._reads.turn():
            reply = await self._since((self._keys.history,), args)
        if not reply:
            return TopicPage((await self.position()).epoch, 0, ())
        return TopicPage(reply[0].decode(), int(reply[1]), [parse_entry(document) for document in reply[2:]])

    async def executions(self, ids: Sequence[str]) -> list[Execution | None]:
        if not ids:
            return []
        for _ in range(_ATTEMPTS):
            epoch = await self._known_epoch()
            present = ("HGET", self._keys.history, "epoch")
            names = [self._keys.execution(epoch, execution_id) for execution_id in ids]
            before, found, after = await self._link.pipeline([present, ("MGET", *names), present])
            if self._is_present(before) and self._is_present(after):
                return [None if state is None else decode(state) for state in found]
        raise self._restless()

    async def snapshot(self, topic: str, limit: int, status: str | None = None) -> Snapshot:
        """Fewer executions when their states have more than a few megabytes, but never none while there are some."""
        wanted = "" if status is None else orjson.dumps(status)
        args = (self._keys.epochs, topic, limit, self._limits.executions_per_topic, wanted, PAGE_BYTES)
        async with self._reads.turn():
            reply = await self._snapshot((self._keys.history,), args)
        if not reply:
            return Snapshot((await self.position()).epoch, 0, 0, ())
        executions = [execution for state in reply[3:] if topic in (execution := decode(state)).topics]
        return Snapshot(reply[0].decode(), int(reply[2]), int(reply[1]), executions)

    async def trim(self, now: float) -> int:
        position = await self.position()
        marks, cutoff = self._keys.marks(position.epoch), f"({now - self._limits.journal_age_s}"
        _, _, old = await self._link.atomically(
            [
                # A number keeps its first mark: later ones would make the last entries of a quiet history young for ever.
                ("ZADD", marks, "NX", now, position.number),
                ("PEXPIRE", marks, 2 * _milliseconds(self._limits.journal_age_s)),
                ("ZREVRANGEBYSCORE", marks, cutoff, "-inf", "LIMIT", 0, 1),
            ]
        )
        if not old:
            return 0
        dropped, _ = await self._link.atomically(
            [
                ("XTRIM", self._keys.journal(position.epoch), "MINID", f"{int(old[0]) + 1}-0"),
                ("ZREMRANGEBYSCORE", marks, "-inf", cutoff),
            ]
        )
        return int(dropped)

    async def rejected(self, limit: int, before: str = "") -> list[DeadLetter]:
        if before and not _is_stream_id(before):
            return []
        end = f"({before}" if before else "+"
        letters = await self._link.call("XREVRANGE", self._keys.rejected, end, "-", "COUNT", limit)
        return [_dead_letter(*letter) for letter in letters]

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        if not _is_stream_id(letter_id):
            return None
        letters = await self._link.call("XRANGE", self._keys.rejected, letter_id, letter_id)
        return _dead_letter(*letters[0]) if letters else None

    async def discard(self, letter_id: str) -> bool:
        if not _is_stream_id(letter_id):
            return False
        return bool(await self._discard((self._keys.rejected, self._keys.rejected_bytes), (letter_id,)))

    async def fill(self) -> dict[str, Queue]:
        epoch = (await self.position()).epoch
        journal, letters = await self._link.pipeline([("XLEN", self._keys.journal(epoch)), ("XLEN", self._keys.rejected)])
        return {
            "journal": Queue(self._limits.journal_events, int(journal)),
            "dead_letters": Queue(self._limits.dead_letters, int(letters)),
        }

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""

    def _append_args(self, batch: Append, placement: Placement, sealed: Sealed | None) -> list[Any]:
        args: list[Any] = [
            self._keys.epochs,
            batch.fence,
            *batch.expected,
            secrets.token_hex(8),
            batch.source,
            batch.cursor,
            *self._bounds,
            len(batch.rejected),
            self._packed_events(placement),
        ]
        for letter in batch.rejected:
            args += (letter.source, letter.field, letter.reason, letter.document, letter.at, letter.size)
        args += (*self._execution_bounds, self._packed_executions(batch.executions))
        if sealed is not None:
            args += (sealed.channel, *sealed.messages)
        return args

    def _packed_events(self, placement: Placement) -> bytes:
        is_due, places = self._topics_renewed.take, placement.places
        documents = [entry.document for entry in placement.entries]
        topics = [(topic, before, places[topic], is_due(topic)) for topic, before in placement.before.items()]
        return _packed((documents, topics))

    def _packed_executions(self, executions: Sequence[Execution]) -> bytes:
        members: dict[str, list[int | str]] = {}
        for execution in executions:
            for topic in execution.topics:
                members.setdefault(topic, []).extend((execution.last, execution.execution_id))
        states = [(execution.execution_id, encode(execution)) for execution in executions]
        listings = [(topic, found, self._listings_renewed.take(topic)) for topic, found in members.items()]
        return _packed((states, listings))

    def _recent_commands(self, epoch: str, topic: str) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The offset first: the entries that are read after it can only be newer, and then they tell the offset."""
        most = self._limits.recent_events
        if topic == ALL:
            return ("HGET", self._keys.history, "number"), ("XREVRANGE", self._keys.journal(epoch), "+", "-", "COUNT", most)
        return ("GET", self._keys.offset(epoch, topic)), ("LRANGE", self._keys.recent(epoch, topic), -most, -1)

    async def _known_epoch(self) -> str:
        if not self._epoch:
            self._epoch = (await self.position()).epoch
        return self._epoch

    def _is_present(self, found: bytes | None) -> bool:
        if found is not None and found.decode() == self._epoch:
            return True
        self._epoch = found.decode() if found else ""
        return False

    def _restless(self) -> Unavailable:
        return Unavailable(f"{self._link.where} lost the history {_ATTEMPTS} times during one read")


def _packed(value: Any) -> bytes:
    """For Lua, which does not tell bytes from text. Thousands of small arguments cost more to send than what is in them."""
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def _entries(replies: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    return [parse_entry(fields[b"d"]) for _, fields in replies]


def _recent(epoch: str, topic: str, offset: bytes | None, found: Sequence[Any]) -> Recent:
    """`found` is the end of the journal, newest first, or the recent buffer."""
    entries = _entries(reversed(found)) if topic == ALL else [parse_entry(document) for document in found]
    newest = offset_in(entries[-1], topic) if entries else 0
    return Recent(epoch, max(int(offset or 0), newest), entries)


def _dead_letter(letter_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    source, field, reason = (fields[name].decode() for name in (b"source", b"field", b"reason"))
    size = int(fields.get(b"size", 0))
    return DeadLetter(source, field, reason, fields[b"document"], float(fields[b"at"]), size, letter_id.decode())


def _is_stream_id(text: str) -> bool:
    return re.fullmatch(r"\d{1,19}-\d{1,19}", text, re.ASCII) is not None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
