"""An event loop in which clients wait for the server, and not the server for clients.

An event passes several turns of the loop on its way from Redis to the sockets, and asyncio does in each turn all that is ready.
A thousand clients that keep the loop busy would make each of these turns as long as all that they asked for takes. Here what
clients cause has a line of its own, first come first served, and of that only as much is done in a turn as a millisecond
takes; a quarter of that while anything else is ready. Nothing waits while there is little to do.

What clients cause is what runs in a context in which `CLIENT` is set: whoever reads from clients starts reading in `AS_CLIENT`,
and tasks and callbacks inherit the context of what they were started from.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVarTuple, Unpack

from events.clients_last_selector import ClientsLastSelector

_Ts = TypeVarTuple("_Ts")

#: For how long work of clients is begun in one turn; and while other work is ready.
TURN_S: Final = 0.001
HURRIED_S: Final = 0.000_25

CLIENT: Final = contextvars.ContextVar[bool]("events.client", default=False)

#: The context in which to begin to listen to clients: `AS_CLIENT.run(start)`.
AS_CLIENT: Final = contextvars.copy_context()
AS_CLIENT.run(CLIENT.set, True)


@contextmanager
def delivering() -> Iterator[None]:
    """What is waited for within it is a delivery, which stands in no line, although a client's request is what waits for it.
    To be left before anything else is done for the client."""
    token = CLIENT.set(False)
    try:
        yield
    finally:
        CLIENT.reset(token)


def _is_client(data: Any) -> bool:
    """Of what asyncio keeps with a descriptor: who reads it, and who writes to it."""
    reader, _ = data
    return reader is not None and bool(reader._context.get(CLIENT, False))


class ClientsLastLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, with a line for what clients cause."""

    # What asyncio's loop does not tell of itself.
    _ready: "deque[asyncio.Handle]"

    def __init__(self) -> None:
        self._line: deque[asyncio.Handle] = deque()
        self._moving = False
        # The context in which the line moves on. It is entered by nobody else.
        self._neutral = contextvars.Context()
        self._readers = ClientsLastSelector(_is_client)
        super().__init__(self._readers)
        # At the end of those that were found ready: when its turn comes, all of them have been read.
        self._all_read = asyncio.Handle(self._readers.resume, (), self, AS_CLIENT.copy())

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if context is None:
            context = contextvars.copy_context()
        if not context.get(CLIENT, False):
            return super().call_soon(callback, *args, context=context)
        asyncios: Any = self
        asyncios._check_closed()
        handle = asyncio.Handle(callback, args, self, context)
        self._queue(handle)
        return handle

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        """What the server opens for a client, it hears as its own: others will use it, too."""
        with delivering():
            return await super().create_connection(*args, **options)

    async def create_unix_connection(self, *args: Any, **options: Any) -> Any:
        with delivering():
            return await super().create_unix_connection(*args, **options)

    def close(self) -> None:
        self._line.clear()
        super().close()

    def _process_events(self, event_list: list[Any]) -> None:
        asyncios: Any = super()
        asyncios._process_events(event_list)
        found = self._readers.take()
        for key in found:
            self._queue(key.data[0])
        if found:
            self._queue(self._all_read)

    def _queue(self, handle: asyncio.Handle) -> None:
        self._line.append(handle)
        if not self._moving:
            self._moving = True
            super().call_soon(self._move_on, context=self._neutral)

    def _move_on(self) -> None:
        """Do what is first in the line, for a moment."""
        line, others = self._line, self._ready
        began = time.perf_counter()
        try:
            while line:
                handle = line.popleft()
                if not handle.cancelled():
                    handle._run()
                if time.perf_counter() - began > (HURRIED_S if others else TURN_S):
                    break
        finally:
            # Also when the process is told to end in the middle of it.
            self._moving = bool(line)
            if line:
                super().call_soon(self._move_on, context=self._neutral)


def has_line() -> bool:
    """Whether the loop that runs has a line for what clients cause."""
    return isinstance(asyncio.get_running_loop(), ClientsLastLoop)
