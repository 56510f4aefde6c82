"""Tokens on the event loop: what asks the database runs neither there nor on the one thread that Django's async code shares."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from django.db import close_old_connections

from events.access import store
from events.access.identify import identify
from events.access.refusal import Reason
from events.access.shared import shared_grant
from events.conf import EventsConfig
from events.domain.grants import Grant
from events.ports import Unavailable

T = TypeVar("T")

#: Threads, each with one connection to the database at a time.
THREADS: Final = 2

#: Questions that may wait for a thread. A client whose question does not fit is told to try again.
MAX_WAITING: Final = 1_000

#: A database that has not answered for so long counts as away.
TIMEOUT_S: Final = 5.0

#: Grants that are remembered, and for how long: a storm of reconnecting clients asks once a second per token.
CACHE_SIZE: Final = 1_000
CACHE_S: Final = 1.0


class Authority:
    """Turns tokens into grants, for one server process."""

    def __init__(self, config: EventsConfig) -> None:
        self._config = config
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tokens")
        self._waiting = 0
        #: By the token's hash, so that no token stays in memory.
        self._cache: OrderedDict[bytes, tuple[float, Grant]] = OrderedDict()

    async def identify(self, token: str) -> Grant:
        """The grant of a token. Raises `TokenRefused` and `Unavailable`."""
        shared = shared_grant(token, self._config)
        if shared is not None:
            return shared
        key = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._cache.get(key)
        if known is not None and time.monotonic() - known[0] < CACHE_S and not known[1].expired(time.time()):
            return known[1]
        asked_at = time.monotonic()
        grant = await self._run(identify, token, self._config)
        self._remember(key, asked_at, grant)
        return grant

    async def current(self, ids: Sequence[str]) -> Mapping[str, Grant | Reason]:
        """What tokens are worth now, as `events.access.store.current`. Raises `Unavailable`."""
        found = await self._run(store.current, ids)
        ended = {token_id for token_id, worth in found.items() if isinstance(worth, Reason)}
        if ended:
            # What has just ended must not be let in again by what is remembered.
            for key in [key for key, (_, grant) in self._cache.items() if grant.token_id in ended]:
                del self._cache[key]
        return found

    def close(self) -> None:
        """End the threads; what they are asked meanwhile is let go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _remember(self, key: bytes, asked_at: float, grant: Grant) -> None:
        self._cache[key] = (asked_at, grant)
        self._cache.move_to_end(key)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)

    async def _run(self, question: Callable[..., T], *args: object) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many tokens wait to be checked.")
        self._waiting += 1
        asked = asyncio.get_running_loop().run_in_executor(self._threads, _with_connection, question, args)
        asked.add_done_callback(self._done)
        try:
            # Shielded: a thread goes on when its caller does not wait, and counts as waiting until it is done.
            return await asyncio.wait_for(asyncio.shield(asked), TIMEOUT_S)
        except TimeoutError:
            raise Unavailable(f"The database of the tokens did not answer within {TIMEOUT_S:g} s.") from None

    def _done(self, asked: "asyncio.Future[T]") -> None:
        self._waiting -= 1
        if not asked.cancelled():
            asked.exception()  # Told to whoever waits; nobody may.


def _with_connection(question: Callable[..., T], args: tuple[object, ...]) -> T:
    close_old_connections()
    try:
        return question(*args)
    finally:
        close_old_connections()
