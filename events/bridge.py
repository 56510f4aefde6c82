"""From synchronous code (views, the admin, management commands, tasks of other frameworks) to the event loop.

In a server process that is the loop on which the hub lives. Any other process gets a loop of its own in a thread, with its
connections kept open: a loop per call would open and close connections per call.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from events.conf import EventsConfig
from events.ports import Unavailable
from events.wiring import Adapters, ServerProcess, build_adapters, server

T = TypeVar("T")

#: A view waits for an answer for so long. Redis links give up earlier and say why.
TIMEOUT_S = 5.0


class _LoopThread:
    """An event loop in a daemon thread, and the adapters that live on it."""

    def __init__(self, config: EventsConfig) -> None:
        self.pid = os.getpid()
        self.config = config
        self.loop = asyncio.new_event_loop()
        self.adapters = build_adapters(config)
        self._thread = threading.Thread(target=self.loop.run_forever, name="events-loop", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the adapters and end the thread. In a forked child there is none, and its parent's connections are let be."""
        if self.pid != os.getpid():
            return
        closing = asyncio.run_coroutine_threadsafe(self.adapters.close(), self.loop)
        try:
            closing.result(TIMEOUT_S)
        except TimeoutError:
            closing.cancel()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(TIMEOUT_S)
        if not self._thread.is_alive():
            self.loop.close()


_lock = threading.Lock()
_thread: _LoopThread | None = None


def _loop_thread(config: EventsConfig) -> _LoopThread:
    """This process's thread. A forked child does not inherit its parent's, and a changed configuration starts anew."""
    global _thread
    with _lock:
        if _thread is None or _thread.pid != os.getpid() or _thread.config != config:
            if _thread is not None:
                _thread.close()
            _thread = _LoopThread(config)
        return _thread


def close() -> None:
    """End this process's loop thread and its connections, if it has one; the next question starts another. Not for a server
    process, whose loop is not ours."""
    global _thread
    with _lock:
        thread, _thread = _thread, None
        if thread is not None:
            thread.close()


def ask(question: Callable[[Adapters, ServerProcess | None], Awaitable[T]], timeout_s: float = TIMEOUT_S) -> T:
    """Run a coroutine with the adapters of this process, and with the server process if this is one.

    Raises what the coroutine raises, and `Unavailable` when there was no answer in time. Must not be called on the loop.
    """
    process = server.process
    if process is not None and process.loop is _running_loop():
        raise RuntimeError("ask() would wait for the event loop that it is called on; await the coroutine instead.")

    async def answer(adapters: Adapters) -> T:
        return await asyncio.wait_for(question(adapters, process), timeout_s)

    if process is not None:
        loop, adapters = process.loop, process.adapters
    else:
        thread = _loop_thread(EventsConfig.from_settings())
        loop, adapters = thread.loop, thread.adapters
    future = asyncio.run_coroutine_threadsafe(answer(adapters), loop)
    try:
        return future.result(timeout_s + 1)
    except TimeoutError:
        future.cancel()
        raise Unavailable(f"The server's event loop did not answer within {timeout_s:g} s.") from None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
