"""Subscribing: plainly as the guide says, or resuming where a client left off."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import structlog

from events.domain import errors
from events.domain.entry import Entry
from events.domain.errors import CommandError
from events.domain.topics import subscription
from events.fanout.hub import Hub
from events.fanout.session import Session
from events.fanout.topic import Topic
from events.fanout.wire import Delivery, Dialect, WireMessage, message, replay_message
from events.ports import Snapshot, Unavailable
from events.turns import Turns

log = structlog.get_logger("events")

Payload = dict[str, Any]

#: Events in one `recent_events` message of a resume, and in one read of the history for it.
PAGE: Final = 500

#: Event types in one filter.
MAX_TYPES: Final = 100

#: Event types in all filters of a client together: each of a thousand subscriptions may have ten.
MAX_ALL_TYPES: Final = 10_000

#: How often a resume looks whether the client has taken what it was sent.
ROOM_INTERVAL_S: Final = 0.01


def snapshot_payload(topic: str, snapshot: Snapshot) -> Payload:
    """What `execution_snapshot` tells: the topic, the place at which all of it is true, and the state of each execution."""
    executions = [execution.to_dict() for execution in snapshot.executions]
    return subscription(topic) | {"epoch": snapshot.epoch, "offset": snapshot.offset, "executions": executions}


@dataclass(frozen=True, slots=True)
class Options:
    """What a client may add to a subscription.

    types:  event types that it wants; None for all
    snapshot: it wants the state of the topic's executions first
    resume: it asked for its place in the history, by sending `epoch` and `offset`
    epoch, offset: the place of the last event that it has; None when it has none yet
    """

    types: frozenset[str] | None = None
    snapshot: bool = False
    resume: bool = False
    epoch: str | None = None
    offset: int | None = None


def parse_options(data: Any, max_length: int) -> Options:
    """Read the options of a subscribe command. Raises `CommandError`."""
    if not isinstance(data, Mapping):
        return Options()
    epoch, offset = data.get("epoch"), data.get("offset")
    if epoch is not None and not isinstance(epoch, str):
        raise CommandError(errors.INVALID_FIELD, "epoch must be a string, or null for a client that has no event yet.", "epoch")
    if offset is not None and (not isinstance(offset, int) or isinstance(offset, bool) or offset < 0):
        raise CommandError(errors.INVALID_FIELD, "offset must be a number from 0 up, or null.", "offset")
    if (epoch is None) != (offset is None):
        absent = "epoch" if epoch is None else "offset"
        raise CommandError(errors.MISSING_FIELD, f"{absent} is missing: epoch and offset go together.", absent)
    snapshot = data.get("snapshot", False)
    if not isinstance(snapshot, bool):
        raise CommandError(errors.INVALID_FIELD, "snapshot must be true or false.", "snapshot")
    return Options(_types(data.get("types"), max_length), snapshot, "epoch" in data or "offset" in data, epoch, offset)


def _types(value: Any, max_length: int) -> frozenset[str] | None:
    if value is None:
        return None
    well_formed = isinstance(value, list) and all(isinstance(item, str) and 0 < len(item) <= max_length for item in value)
    if not well_formed or not 0 < len(value) <= MAX_TYPES:
        message = f"types must be a list of 1 to {MAX_TYPES} event types, each a string."
        raise CommandError(errors.INVALID_FIELD, message, "types")
    return frozenset(value)


def check_filters(session: Session, name: str, types: frozenset[str]) -> None:
    """Raises `CommandError` where a client's filters would be too much to keep with this one for a topic."""
    others = (each.types for topic, each in session.topics.items() if topic != name and each.types is not None)
    total = len(types) + sum(map(len, others))
    if total > MAX_ALL_TYPES:
        message = f"Your filters have {total} types in all; at most {MAX_ALL_TYPES} are taken. Subscribe without, or to less."
        raise CommandError(errors.INVALID_FIELD, message, "types")


#: Topics whose `subscribed` is kept at hand.
_ANSWERS: Final = 64


@lru_cache(_ANSWERS)
def _subscribed(dialect: Dialect, name: str) -> WireMessage:
    """The answer to a subscription that resumes nothing. Thousands of them may wait for clients that poll: those that are the
    same are one object."""
    return message(dialect, "subscribed", subscription(name))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a client stands when it subscribes.

    answer: the body of `subscribed`
    epoch, offset: the last event that it has, or that is missing; None when it begins with the buffer
    page:   what follows in the history, the first part of what is older than the buffer
    missed: the body of `events_missed`, when something that follows is in no history
    """

    answer: Payload
    epoch: str = ""
    offset: int | None = None
    page: Sequence[Entry] = ()
    missed: Payload | None = None


def _goes_on(session: Session, name: str) -> bool:
    """Whether a subscription that is being carried out still has its client, and the client its grant."""
    return not session.closed and session.may_subscribe(name)


class Subscriber:
    """Carries out subscriptions on one hub.

    Order on the wire: `subscribed`, then what is replayed, then live events. The last part of a replay and the joining are
    one step of the event loop, so nothing falls between them and nothing comes twice.
    """

    def __init__(self, hub: Hub, turns: Turns) -> None:
        self._hub = hub
        self._turns = turns

    async def subscribe(self, session: Session, name: str, options: Options) -> Payload:
        """Subscribe a client and send it what it is to get. Returns the body of `subscribed`.

        Raises `Unavailable` before anything was sent or changed.
        """
        waited = await self._hub.open(name)
        joined = False
        try:
            if waited:
                # Topics are read many at a time: all that wait for them would go on in the same turn of the loop.
                await self._turns.take()
            place = await self._place(name, options)
            snapshot = await self._snapshot(name) if options.snapshot else None
            if session.closed:
                return {}
            if not session.may_subscribe(name):
                raise CommandError(errors.AUTHENTICATION_REQUIRED, "Authentication required")
            if options.resume:
                # A member that tells its place gets all that follows it, and nothing else meanwhile.
                self._hub.leave(session, name)
            # What is at hand leaves with the answer.
            session.pipe.hold()
            if options.resume:
                session.emit("subscribed", place.answer)
            else:
                session.emit_message(_subscribed(session.dialect, name))
            if snapshot is not None:
                session.emit("execution_snapshot", snapshot_payload(name, snapshot))
            if place.missed is not None:
                session.tell_missed(place.missed)
            if place.offset is not None:
                session.pipe.release()
            after = await self._replay_deep(session, name, place, options)
            # One step from here on.
            if _goes_on(session, name):
                joined = True
                self._join(session, name, options, after)
            elif not session.closed:
                session.emit("subscription_revoked", subscription(name) | {"code": errors.INSUFFICIENT_SCOPE.code})
            return place.answer
        finally:
            session.pipe.release()
            if not joined:
                self._hub.release(name)

    def _join(self, session: Session, name: str, options: Options, after: int | None) -> None:
        topic = self._hub.join(session, name, options.types)
        if after is None and options.types is None:
            replayed = len(topic.buffer)
            if replayed:
                session.emit_message(topic.replay(session.dialect))
                self._count(session, replayed)
        else:
            replayed = self._replay(session, topic.since(topic.reach if after is None else after), options)
        log.info("client_subscribed", sid=session.sid, topic=name, replayed=replayed)

    async def _place(self, name: str, options: Options) -> _Place:
        """Where a client stands in the history."""
        topic, offset = self._hub.opened(name), options.offset
        if not options.resume:
            return _Place(subscription(name))
        if offset is not None and (options.epoch != self._hub.position.epoch or offset > topic.offset):
            # Another server process may have been a moment ahead of this one.
            await self._hub.refresh()
        epoch = self._hub.position.epoch
        answer = subscription(name) | {"epoch": epoch, "offset": topic.offset, "recovered": False}
        if offset is None:
            return _Place(answer)
        if options.epoch != epoch or offset > topic.offset:
            reason = "history_lost" if options.epoch != epoch else "unknown_offset"
            return _Place(answer, missed=self._hub.missed(name, None, None, reason))
        deep = await self._hub.since(name, offset, PAGE) if offset < topic.reach else ()
        first = topic.offset_of(deep[0]) if deep else topic.reach + 1
        # The hub may have gone on while the history was read.
        answer |= {"offset": topic.offset, "recovered": offset + 1 >= first}
        if answer["recovered"]:
            return _Place(answer, epoch, offset, deep)
        return _Place(answer, epoch, first - 1, deep, self._hub.missed(name, offset + 1, first - 1, "history_trimmed"))

    async def _snapshot(self, name: str) -> Snapshot:
        """The state of the topic's executions, so new that the topic's buffer reaches back to it."""
        topic = self._hub.opened(name)
        found = await self._hub.snapshot(name)
        while found.epoch == self._hub.position.epoch and found.offset < topic.reach:
            found = await self._hub.snapshot(name)
        return found

    async def _replay_deep(self, session: Session, name: str, place: _Place, options: Options) -> int | None:
        """Replay what is older than the topic's buffer, at the speed at which the client reads.

        Returns the offset after which the buffer is still to be replayed; None for all of it.
        """
        if place.offset is None:
            return None
        topic, page, offset = self._hub.opened(name), place.page, place.offset
        # Events that come meanwhile push older ones out of the buffer, so it is looked at again after each wait.
        while (page or offset < topic.reach) and _goes_on(session, name):
            if page:
                self._replay(session, page, options)
                offset = topic.offset_of(page[-1])
                await self._wait_for_room(session)
            page = await self._next_page(session, topic, offset) if offset < topic.reach else ()
            reached = topic.offset_of(page[0]) - 1 if page else max(offset, topic.reach)
            self._tell_gap(session, topic, offset, reached)
            offset = reached
        if self._hub.position.epoch != place.epoch:
            # Offsets of the epoch that ended mean nothing in the one that began while we read.
            session.tell_missed(self._hub.missed(name, None, None, "history_lost"))
            return None
        return offset

    async def _next_page(self, session: Session, topic: Topic, offset: int) -> Sequence[Entry]:
        """More of what is older than the buffer. A client cannot be left half way, so it is put out when there is no more to
        be had for now; it resumes from what it has."""
        try:
            return await self._hub.since(topic.name, offset, PAGE)
        except Unavailable:
            session.disconnect("the event history cannot be reached")
            return ()

    def _tell_gap(self, session: Session, topic: Topic, offset: int, last: int) -> None:
        """Tell a client of what was trimmed from the history between its offset and `last`, if anything was."""
        if last > offset:
            session.tell_missed(self._hub.missed(topic.name, offset + 1, last, "history_trimmed"))

    async def _wait_for_room(self, session: Session) -> None:
        """Wait until the client has taken half of what it may have unsent; it is cut off when it takes too long."""
        deadline = asyncio.get_running_loop().time() + session.limits.drain_deadline_s
        while session.pipe.pending > session.limits.buffer_bytes // 2 and not session.closed:
            if asyncio.get_running_loop().time() > deadline:
                self._hub.counters.count("overflows", "slow_client")
                session.disconnect("client too slow: does not read its replay")
                return
            await asyncio.sleep(ROOM_INTERVAL_S)

    def _replay(self, session: Session, entries: Sequence[Entry], options: Options) -> int:
        """Send entries as `recent_events`, less those of types that the client does not want."""
        if options.types is not None:
            entries = [entry for entry in entries if Delivery(entry).type in options.types]
        if entries:
            session.emit_message(replay_message(session.dialect, entries))
            self._count(session, len(entries))
            self._hub.counters.bytes += sum(len(entry.document) for entry in entries)
        return len(entries)

    def _count(self, session: Session, events: int) -> None:
        session.sent += events
        session.replays += 1
        self._hub.counters.sent += events
