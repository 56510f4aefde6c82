"""A selector that asks for clients only when those that it found before have been read."""

import math
import select
from collections.abc import Callable, Mapping
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import Any, Final

#: Clients that are found ready at once. The kernel names the others the next time: those that it has named go to the end.
AT_ONCE: Final = 64


class ClientsLastSelector(BaseSelector):
    """Two epolls: one for clients that have sent something, and one for all else, which hears of the first as well.

    is_client: whether the reader of a descriptor reads for a client, from its `data`. Whether a descriptor can be written to
    is asked at once for everybody: what waits to be written is the server's.
    """

    def __init__(self, is_client: Callable[[Any], bool]) -> None:
        self._is_client = is_client
        self._keys: dict[int, SelectorKey] = {}
        self._found: list[SelectorKey] = []
        self._paused = False
        self._others = select.epoll()
        self._clients = select.epoll()
        self._others.register(self._clients.fileno(), select.EPOLLIN)

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """As any selector: raises `ValueError` for events that there are not, `KeyError` for what is registered already."""
        if not events or events & ~(EVENT_READ | EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")
        key = SelectorKey(fileobj, _descriptor(fileobj), events, data)
        if key.fd in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        self._watch(key.fd, (0, 0), self._masks(key))
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        key = self._keys.pop(_descriptor(fileobj))
        try:
            self._watch(key.fd, self._masks(key), (0, 0))
        except OSError:
            # It was closed meanwhile, and is watched no more.
            pass
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        old = self._keys[_descriptor(fileobj)]
        key = old._replace(events=events, data=data)
        try:
            self._watch(key.fd, self._masks(old), self._masks(key))
        except OSError:
            del self._keys[key.fd]
            raise
        self._keys[key.fd] = key
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Everything that is ready but clients that have sent something: `take` has these."""
        ready = []
        for descriptor, event in self._others.poll(_milliseconds(timeout) if timeout else timeout, len(self._keys) + 1):
            key = self._keys.get(descriptor)
            if key is not None:
                ready.append((key, _events(event) & key.events))
            elif descriptor == self._clients.fileno():
                self._find()
        return ready

    def take(self) -> list[SelectorKey]:
        """Clients that have sent something. There are no others before `resume` was called."""
        found, self._found = self._found, []
        return found

    def resume(self) -> None:
        """Those that were taken have been read."""
        self._paused = False

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> SelectorKey:
        return self._keys[_descriptor(fileobj)]

    def close(self) -> None:
        self._clients.close()
        self._others.close()
        self._keys.clear()

    def _find(self) -> None:
        if not self._paused:
            named = (self._keys.get(descriptor) for descriptor, _ in self._clients.poll(0, AT_ONCE))
            self._found = [key for key in named if key is not None]
            self._paused = bool(self._found)

    def _masks(self, key: SelectorKey) -> tuple[int, int]:
        """What to ask about a descriptor among all else, and among clients."""
        reads = select.EPOLLIN if key.events & EVENT_READ else 0
        writes = select.EPOLLOUT if key.events & EVENT_WRITE else 0
        return (writes, reads) if reads and self._is_client(key.data) else (reads | writes, 0)

    def _watch(self, descriptor: int, before: tuple[int, int], after: tuple[int, int]) -> None:
        for poll, old, new in zip((self._others, self._clients), before, after, strict=True):
            if not old and new:
                poll.register(descriptor, new)
            elif old and not new:
                poll.unregister(descriptor)
            elif old != new:
                poll.modify(descriptor, new)


def _descriptor(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _milliseconds(timeout: float) -> float:
    """What epoll understands, in seconds: whole milliseconds, rounded up, as it would not wait at all for a part of one."""
    return math.ceil(max(timeout, 0) * 1e3) * 1e-3


def _events(event: int) -> int:
    """What has ended or failed is ready for both."""
    return (EVENT_WRITE if event & ~select.EPOLLIN else 0) | (EVENT_READ if event & ~select.EPOLLOUT else 0)
