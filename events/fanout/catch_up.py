"""Slow clients: served from the journal at the speed at which they read, instead of being buffered for."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from events.domain.entry import Entry
from events.fanout.session import Session
from events.fanout.wire import Delivery
from events.ports import History, Unavailable

if TYPE_CHECKING:
    from events.fanout.hub import Hub

log = structlog.get_logger("events")

#: Journal entries per read.
PAGE = 500

#: How often lagging clients are looked at. Bounds the rate of catching up, not the latency of live events.
INTERVAL_S = 0.025


class CatchUp:
    """The lagging sessions of one hub."""

    def __init__(self, hub: "Hub", history: History) -> None:
        self._hub = hub
        self._history = history
        #: Session -> when it last took something (monotonic), and what was unsent then.
        self._lagging: dict[Session, tuple[float, int]] = {}
        self._any = asyncio.Event()

    def __len__(self) -> int:
        return len(self._lagging)

    def lag(self, session: Session, unsent: Sequence[Delivery]) -> None:
        """Stop sending live events to a client; `unsent` are those that it was to be sent now."""
        session.cursor = unsent[0].entry.number - 1
        session.offsets = {name: self._hub.offset(name) for name in session.topics}
        # The hub's offsets are those after the whole batch; the first unsent event of each topic says what was before it.
        for delivery in reversed(unsent):
            for name, offset in zip(delivery.entry.topics, delivery.entry.offsets, strict=True):
                if name in session.offsets:
                    session.offsets[name] = offset - 1
        self._hub.counters.lagged += 1
        self._lagging[session] = (time.monotonic(), session.pipe.pending)
        self._any.set()
        self._hub.changed.set()
        log.warning("client_lagging", sid=session.sid, backlog_bytes=session.pipe.pending)

    def forget(self, session: Session) -> None:
        """Make a session live, or be done with one whose connection ended."""
        session.cursor = None
        session.offsets = {}
        if self._lagging.pop(session, None) is not None:
            self._hub.changed.set()

    async def run(self) -> None:
        """Serve lagging clients, for ever."""
        while True:
            await self._any.wait()
            for session in list(self._lagging):
                try:
                    await self._serve(session)
                except Unavailable:
                    pass  # The history comes back or the deadline passes; the hub reports the outage.
                self._check_deadline(session)
            if not self._lagging:
                self._any.clear()
                continue
            await asyncio.sleep(INTERVAL_S)

    async def _serve(self, session: Session) -> None:
        """Send what the client missed until its buffer is half full or it is live again."""
        while session.cursor is not None and session.pipe.pending <= session.limits.buffer_bytes // 2:
            cursor = session.cursor
            page = await self._history.read(cursor, PAGE)
            if session.cursor != cursor or page.epoch != self._hub.position.epoch:
                return  # Its connection ended, or the history began anew, while we read.
            for entry in page.entries:
                if entry.number > self._hub.position.number:
                    break
                session.cursor = entry.number
                # First what is missing before it, then the event.
                self._note_offsets(session, entry)
                delivery = Delivery(entry)
                if session.wants(delivery):
                    self._send(session, delivery)
            here = self._hub.position.number
            # Without an entry up to where the hub is, nothing is left to be read: what is missing is told on going live.
            if session.cursor >= here or not page.entries or page.entries[0].number > here:
                self._go_live(session)
            # A history in memory answers at once; a client that wants little of a long journal must not hold up the others.
            await asyncio.sleep(0)

    def _send(self, session: Session, delivery: Delivery) -> None:
        session.pipe.write(delivery.message(session.dialect))
        session.sent += 1
        self._hub.counters.sent += 1

    def _note_offsets(self, session: Session, entry: Entry) -> None:
        for name, offset in zip(entry.topics, entry.offsets, strict=True):
            if name in session.offsets:
                self._check_offset(session, name, offset - 1)
                session.offsets[name] = max(session.offsets[name], offset)

    def _check_offset(self, session: Session, name: str, before: int) -> None:
        """Tell the client when events of a topic between what it was sent and `before` are in no history any more."""
        served = session.offsets[name]
        if before > served:
            session.tell_missed(self._hub.missed(name, served + 1, before, "client_too_slow"))

    def _go_live(self, session: Session) -> None:
        for name in session.offsets:
            self._check_offset(session, name, self._hub.offset(name))
        self.forget(session)
        log.info("client_caught_up", sid=session.sid)

    def _check_deadline(self, session: Session) -> None:
        """Cut off a client that takes nothing at all for its deadline."""
        if session not in self._lagging:
            return
        now, pending = time.monotonic(), session.pipe.pending
        since, before = self._lagging[session]
        if pending < before or not pending:
            since = now
        self._lagging[session] = (since, pending)
        if now - since > session.limits.drain_deadline_s:
            self._hub.counters.count("overflows", "slow_client")
            session.disconnect(f"client too slow: took nothing for {session.limits.drain_deadline_s:g} s")
