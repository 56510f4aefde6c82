"""Questions to the database of the tokens, asked from the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from django.db import close_old_connections

from events.ports import Unavailable

T = TypeVar("T")

#: A database that has not answered for so long counts as away.
TIMEOUT_S: Final = 5.0


class Questions:
    """Threads that ask, each with one connection to the database at a time.

    threads:     how many
    max_waiting: questions that may wait, those that are being asked among them; a further one is refused
    """

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tokens")
        self._max_waiting = max_waiting
        self._waiting = 0

    async def ask(self, question: Callable[..., T], *args: object) -> T:
        """What the question returns or raises. Raises `Unavailable` when too many wait, and when there is no answer in time."""
        if self._waiting >= self._max_waiting:
            raise Unavailable("Too many tokens wait to be checked.")
        self._waiting += 1
        asked = asyncio.get_running_loop().run_in_executor(self._threads, _with_connection, question, args)
        asked.add_done_callback(self._done)
        try:
            # Shielded: a thread goes on when its caller does not wait, and counts as waiting until it is done.
            return await asyncio.wait_for(asyncio.shield(asked), TIMEOUT_S)
        except TimeoutError:
            raise Unavailable(f"The database of the tokens did not answer within {TIMEOUT_S:g} s.") from None

    def close(self) -> None:
        """End the threads; what they are asked meanwhile is let go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

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
