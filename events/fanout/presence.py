"""The rows of this process's clients in the registry, kept current at a bounded cost."""

import asyncio
from collections.abc import Hashable, Iterable, Mapping, Sequence

import orjson

from events.fanout.session import Session
from events.ports import ClientChanges, ClientRegistry, Unavailable

#: Clients that are looked at in one step of the event loop: two milliseconds when all of them changed.
STEP_CLIENTS = 100

#: Rows that one update writes before it leaves the rest to the next one, which goes on where this one ended.
ROWS_PER_UPDATE = 3_000

#: … and of clients that only got events since their row was written. All of them change all the time on a busy server.
TRAFFIC_ROWS = 250

#: Clients that one update looks at for their traffic alone; the next one goes on behind them. To look at ten thousand that have
#: got nothing would take half of the time that their heartbeats take.
TRAFFIC_LOOKS = 1_000

Mark = tuple[Hashable, Hashable]


class Presence:
    """Tells the registry of clients that came, changed or went, and of no others: most clients of a quiet server are as they
    were a second ago, and making the rows of ten thousand at once would hold up the event loop."""

    def __init__(self, registry: ClientRegistry, process: str, sessions: Mapping[str, Session]) -> None:
        self._registry = registry
        self._process = process
        self._sessions = sessions
        #: What was told of each client, in short.
        self._told: dict[str, Mark] = {}
        self._anew = True
        #: Whether the last update left out clients of whom more may have changed than their traffic.
        self._unfinished = False
        #: The place of the client whose turn it is, and how many more may be written for their traffic alone: below zero once
        #: one was left out.
        self._turn = 0
        self._room = 0

    async def update(self, ttl_s: float, *, changed: bool = True) -> None:
        """Bring the registry up to date. What it does not learn because it cannot be reached goes with the next update. When
        nothing has `changed` of any client but its traffic, those that would be left out are not even looked at."""
        try:
            await self._update(ttl_s, changed)
        except Unavailable:
            # It may have taken what it did not confirm.
            self._anew = True
            raise

    async def rows(self) -> dict[str, bytes]:
        """The rows of all clients now, by sid, as the registry has them."""
        rows: dict[str, bytes] = {}
        for step in _steps(list(self._sessions.values())):
            rows |= {session.sid: self._row(session) for session in step}
            await asyncio.sleep(0)
        return rows

    async def _update(self, ttl_s: float, changed: bool) -> None:
        if self._anew:
            self._told.clear()
        everybody = changed or self._anew or self._unfinished
        written, self._room, self._unfinished = 0, TRAFFIC_ROWS, everybody
        sessions = self._in_turn()
        for step in _steps(sessions if everybody else sessions[:TRAFFIC_LOOKS]):
            marks = self._due(step)
            await self._put(marks, (), ttl_s)
            written += len(marks)
            if written >= ROWS_PER_UPDATE or (self._room < 0 and not everybody):
                break
        else:
            self._unfinished = False
        gone = [sid for sid in self._told if sid not in self._sessions] if everybody else []
        if await self._put({}, gone, ttl_s, always=True) != len(self._told):
            self._anew = True

    def _due(self, step: Sequence[Session]) -> dict[Session, Mark]:
        """Whose rows are to be written, and what they tell."""
        marks: dict[Session, Mark] = {}
        for session in step:
            standing, told = session.standing(), self._told.get(session.sid)
            if told is None or standing != told[0]:
                marks[session] = standing, session.traffic()
            # Once one was left out, no further one is asked: on a busy server all have been sent something.
            elif self._room >= 0 and (traffic := session.traffic()) != told[1]:
                self._room -= 1
                if self._room >= 0:
                    marks[session] = standing, traffic
            # The next update begins with the first one that was left out.
            if self._room >= 0:
                self._turn += 1
        return marks

    def _in_turn(self) -> list[Session]:
        """All sessions, beginning with the one that the last update did not come to."""
        sessions = list(self._sessions.values())
        self._turn = self._turn % len(sessions) if sessions else 0
        return sessions[self._turn :] + sessions[: self._turn]

    async def _put(
        self, marks: Mapping[Session, Mark], gone: Sequence[str], ttl_s: float, *, always: bool = False
    ) -> int | None:
        if not marks and not always:
            await asyncio.sleep(0)
            return None
        rows = {session.sid: self._row(session) for session in marks}
        kept = await self._registry.put_clients(self._process, ClientChanges(rows, gone, self._anew), ttl_s)
        self._anew = False
        self._told |= {session.sid: mark for session, mark in marks.items()}
        for sid in gone:
            del self._told[sid]
        return kept

    def _row(self, session: Session) -> bytes:
        return orjson.dumps(session.row() | {"process": self._process})


def _steps(sessions: Sequence[Session]) -> Iterable[Sequence[Session]]:
    return (sessions[start : start + STEP_CLIENTS] for start in range(0, len(sessions), STEP_CLIENTS))
