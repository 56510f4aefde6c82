"""Tokens on the event loop: what asks the database runs neither there nor on the one thread that Django's async code shares."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from events.access import store
from events.access.attempts import unchecked
from events.access.identify import identify
from events.access.questions import Questions
from events.access.refusal import Reason
from events.access.shared import shared_grant
from events.conf import EventsConfig
from events.domain.grants import Grant

#: Threads that look at what clients give.
THREADS: Final = 2

#: Questions that may wait for one. A client whose question does not fit is told to try again.
MAX_WAITING: Final = 1_000

#: Grants that are remembered, and for how long: a storm of reconnecting clients asks once a second per token.
CACHE_SIZE: Final = 1_000
CACHE_S: Final = 1.0


class Authority:
    """Turns tokens into grants, for one server process."""

    def __init__(self, config: EventsConfig) -> None:
        self._config = config
        self._given = Questions(THREADS, MAX_WAITING)
        # What is asked of tokens that are in use does not wait behind what strangers give: it may end one of them.
        self._in_use = Questions(1, 1)
        #: By the token's hash, so that no token stays in memory.
        self._cache: OrderedDict[bytes, tuple[float, Grant]] = OrderedDict()

    async def identify(self, token: str, check: Callable[[], None] = unchecked) -> Grant:
        """The grant of a token. Raises `TokenRefused`, `Unavailable`, and what `check` raises, which a thread calls when it is
        this token's turn to be looked at."""
        shared = shared_grant(token, self._config)
        if shared is not None:
            return shared
        key = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._cache.get(key)
        if known is not None and time.monotonic() - known[0] < CACHE_S and not known[1].expired(time.time()):
            return known[1]
        asked_at = time.monotonic()
        grant = await self._given.ask(_identify, check, token, self._config)
        self._remember(key, asked_at, grant)
        return grant

    async def current(self, ids: Sequence[str]) -> Mapping[str, Grant | Reason]:
        """What tokens are worth now, as `events.access.store.current`. Raises `Unavailable`."""
        found = await self._in_use.ask(store.current, ids)
        ended = {token_id for token_id, worth in found.items() if isinstance(worth, Reason)}
        if ended:
            # What has just ended must not be let in again by what is remembered.
            for key in [key for key, (_, grant) in self._cache.items() if grant.token_id in ended]:
                del self._cache[key]
        return found

    async def note_ends(self, ends: Mapping[str, float]) -> None:
        """As `events.access.store.note_ends`. Raises `Unavailable`."""
        await self._in_use.ask(store.note_ends, ends)

    async def forget_ended(self) -> None:
        """As `events.access.store.forget_ended`. Raises `Unavailable`."""
        await self._given.ask(store.forget_ended)

    def close(self) -> None:
        """End the threads; what they are asked meanwhile is let go."""
        self._given.close()
        self._in_use.close()

    def _remember(self, key: bytes, asked_at: float, grant: Grant) -> None:
        self._cache[key] = (asked_at, grant)
        self._cache.move_to_end(key)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)


def _identify(check: Callable[[], None], token: str, config: EventsConfig) -> Grant:
    check()
    return identify(token, config)
