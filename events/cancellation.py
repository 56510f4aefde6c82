"""Cancellation that gets through."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heed_cancellation() -> Iterator[None]:
    """Around calls of libraries that use `asyncio.wait_for`: before Python 3.12 it forgets a cancellation that comes in the
    moment in which what it waits for is done, and the task would run on for ever."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0

    def cancelled() -> bool:
        return task is not None and task.cancelling() > before

    try:
        yield
    except Exception:
        if cancelled():
            raise asyncio.CancelledError from None
        raise
    if cancelled():
        raise asyncio.CancelledError
