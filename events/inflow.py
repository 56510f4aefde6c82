"""What was read of a WebSocket and waits for its consumer."""

import asyncio
from typing import Any, Final, Protocol

#: Messages that may wait, and their bytes: above either the socket is not read any further.
QUEUE_MESSAGES: Final = 4


class Readable(Protocol):
    """What can be told to stop reading for a while (Twisted's `IPushProducer`)."""

    def pauseProducing(self) -> None: ...  # noqa: N802 - Twisted's name

    def resumeProducing(self) -> None: ...  # noqa: N802 - Twisted's name


class _Gone:
    """Of a connection that is gone."""

    def pauseProducing(self) -> None: ...  # noqa: N802 - Twisted's name

    def resumeProducing(self) -> None: ...  # noqa: N802 - Twisted's name


_GONE: Final = _Gone()


class Inflow:
    """A queue with one reader. While it is full, the socket is not read.

    Not an `asyncio.Queue`, which takes two thousand bytes of memory: there is one for each client, and nearly all are empty.
    """

    __slots__ = ("_bytes", "_max_bytes", "_messages", "_paused", "_source", "_waiter")

    def __init__(self, source: Readable, max_bytes: int) -> None:
        self._source: Readable = source
        self._max_bytes = max_bytes
        self._messages: list[str | bytes | dict[str, Any]] = []
        self._bytes = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def room(self) -> int:
        """So many messages more, and the socket is not read any further."""
        return max(0, QUEUE_MESSAGES + 1 - len(self._messages))

    @property
    def paused(self) -> bool:
        """Whether the socket is not read for now."""
        return self._paused

    @property
    def awaited(self) -> bool:
        """Whether the reader waits for a message, and is not busy with one that it took."""
        return self._waiter is not None

    def end(self, message: dict[str, Any]) -> None:
        """Add the last message. Those that wait before it are dropped: their sender is gone, and so is who wants answers."""
        # It knows this queue, and would stay with it until the garbage collector comes.
        self._source = _GONE
        self._messages.clear()
        self._bytes = 0
        self.put(message)

    def put(self, message: str | bytes | dict[str, Any]) -> None:
        """Add what a client said, or another ASGI message; pauses the socket when that is too many."""
        self._messages.append(message)
        self._bytes += _size(message)
        if not self._paused and (len(self._messages) > QUEUE_MESSAGES or self._bytes > self._max_bytes):
            self._paused = True
            self._source.pauseProducing()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> dict[str, Any]:
        """The oldest message, once there is one: ASGI's `receive`."""
        while not self._messages:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.pop(0)
        self._bytes -= _size(message)
        if self._paused and len(self._messages) <= QUEUE_MESSAGES // 2 and self._bytes <= self._max_bytes // 2:
            self._paused = False
            self._source.resumeProducing()
        return _asgi(message)


def _size(message: str | bytes | dict[str, Any]) -> int:
    return 0 if isinstance(message, dict) else len(message)


def _asgi(message: str | bytes | dict[str, Any]) -> dict[str, Any]:
    """The message as ASGI has it: with its dict, a short one takes three times as much memory, so it gets that only now."""
    if isinstance(message, dict):
        return message
    return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}
