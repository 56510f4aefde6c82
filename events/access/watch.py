"""Ends what a token does not allow any more, in each server process: the token expired, was revoked, or was changed. What has
ended is forgotten after a while."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from events.access.authority import Authority
from events.access.refusal import Reason
from events.domain import errors
from events.domain.errors import ErrorKind
from events.domain.grants import Grant
from events.fanout.session import Session
from events.ports import Unavailable
from events.supervisor import Supervisor

log = structlog.get_logger("events")

#: How often. With the second for which a grant may be remembered, whoever loses a grant loses it within 2 s.
INTERVAL_S: Final = 0.5

#: How often what has ended is forgotten.
FORGET_INTERVAL_S: Final = 3_600.0

KINDS: Final = {Reason.EXPIRED: errors.TOKEN_EXPIRED, Reason.REVOKED: errors.TOKEN_REVOKED}


class Grantor(Protocol):
    """What the watch tells of a session's grant."""

    def regrant(self, session: Session, grant: Grant) -> None: ...

    def withdraw(self, session: Session, kind: ErrorKind) -> None: ...


class GrantWatch:
    """Compares the grants of live sessions with what their tokens are worth."""

    def __init__(self, sessions: Mapping[str, Session], authority: Authority, grantor: Grantor) -> None:
        self._sessions = sessions
        self._authority = authority
        self._grantor = grantor

    def start(self, tasks: Supervisor) -> None:
        """Look for ever. While the database is away grants stay as they are, and end by time alone: a database that hangs
        must not hold that up."""
        tasks.start("grants", self._check_again_and_again)
        tasks.start("ends of grants", self._end_in_time)
        tasks.start("ended grants", self._forget_again_and_again)

    async def _end_in_time(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.end_expired(time.time())

    async def _forget_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(FORGET_INTERVAL_S)
            try:
                await self._authority.forget_ended()
            except Unavailable as error:
                log.warning("ended_not_forgotten", reason=str(error))

    async def _check_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.check()
            except Unavailable as error:
                log.warning("tokens_not_checked", reason=str(error))

    async def check(self) -> None:
        """Ask once what the tokens are worth. Raises `Unavailable`."""
        seen = [(session, grant) for session in self._sessions.values() if (grant := session.grant) is not None and grant.ends]
        if not seen:
            return
        current = await self._authority.current(sorted({grant.token_id for _, grant in seen}))
        revoked: dict[str, float] = {}
        for session, grant in seen:
            found = current.get(grant.token_id, grant)
            if found is Reason.REVOKED and grant.expires_at is not None:
                revoked[grant.token_id] = grant.expires_at
            # Whoever gave another token meanwhile has that one's grant.
            if session.grant is grant:
                self._apply(session, grant, found)
        if revoked:
            await self._authority.note_ends(revoked)

    def end_expired(self, now: float) -> None:
        """End what has ended by this Unix time."""
        for session in list(self._sessions.values()):
            if session.grant is not None and session.grant.expired(now):
                self._grantor.withdraw(session, errors.TOKEN_EXPIRED)

    def _apply(self, session: Session, grant: Grant, found: Grant | Reason) -> None:
        if isinstance(found, Reason):
            self._grantor.withdraw(session, KINDS[found])
        elif found != grant:
            self._grantor.regrant(session, found)
