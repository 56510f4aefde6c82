"""Events that wait to be published."""

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

#: What one batch holds, at most. The server takes 1,000 events and 10 MiB in one request.
BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 4 << 20

#: What is given up when a buffer is full: what waits for longest, or what comes.
OnFull = Literal["drop_oldest", "drop_newest"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in order. `first` is the number of the first one, from 1, among all of the publisher with this id."""

    publisher_id: str
    first: int
    documents: Sequence[bytes]

    @property
    def last(self) -> int:
        """The number of the last one."""
        return self.first + len(self.documents) - 1


class Buffer(Protocol):
    """A queue with a bound. Its user keeps it to one thread at a time.

    pending: events that wait
    dropped: events that were given up because it was full, or could not be kept
    """

    @property
    def pending(self) -> int: ...

    @property
    def dropped(self) -> int: ...

    def append(self, document: bytes) -> None:
        """Add an event. Never raises: what cannot be kept is counted as dropped."""

    def batch(self) -> Batch | None:
        """The events that wait for longest; they stay until they are `done`. None when nothing waits."""

    def done(self, last: int) -> None:
        """Events up to this number are published, and forgotten."""

    def close(self) -> None:
        """Let go of what it holds open."""


def new_publisher_id() -> str:
    return secrets.token_hex(8)


def fitting(documents: Sequence[bytes]) -> int:
    """How many of these go into one batch; at least one."""
    size = 0
    for count, document in enumerate(documents[:BATCH_EVENTS]):
        size += len(document)
        if size > BATCH_BYTES and count:
            return count
    return min(len(documents), BATCH_EVENTS)


class MemoryBuffer:
    """Keeps events in memory: they end with the process."""

    def __init__(self, max_bytes: int, on_full: OnFull) -> None:
        self.dropped = 0
        self._id = new_publisher_id()
        self._max_bytes = max_bytes
        self._on_full = on_full
        self._documents: deque[bytes] = deque()
        self._size = 0
        #: The number of the oldest that waits.
        self._first = 1

    @property
    def pending(self) -> int:
        return len(self._documents)

    def append(self, document: bytes) -> None:
        if self._size + len(document) > self._max_bytes and self._on_full == "drop_newest":
            self.dropped += 1
            return
        self._documents.append(document)
        self._size += len(document)
        while self._size > self._max_bytes:
            self._forget_oldest()
            self.dropped += 1

    def batch(self) -> Batch | None:
        if not self._documents:
            return None
        oldest = [self._documents[index] for index in range(min(len(self._documents), BATCH_EVENTS))]
        return Batch(self._id, self._first, oldest[: fitting(oldest)])

    def done(self, last: int) -> None:
        while self._documents and self._first <= last:
            self._forget_oldest()

    def close(self) -> None:
        """Nothing is held open."""

    def _forget_oldest(self) -> None:
        self._size -= len(self._documents.popleft())
        self._first += 1
