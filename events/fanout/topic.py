"""A topic in the hub: its sessions and its recent buffer."""

from collections import deque
from collections.abc import Iterable

from events.domain.entry import Entry
from events.fanout.session import Session
from events.fanout.wire import Dialect, WireMessage, replay_message


class Topic:
    """One topic that somebody in this process subscribed to.

    The buffer is complete up to the hub's position, so joining is a set insertion and a copy of the buffer.
    """

    __slots__ = ("_replays", "buffer", "joining", "name", "offset", "sessions")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.sessions: set[Session] = set()
        self.buffer: deque[Entry] = deque(maxlen=capacity)
        self.offset = 0
        #: Clients that wait for this topic to be read from history; keeps the topic alive until they have joined.
        self.joining = 0
        self._replays: dict[Dialect, WireMessage] = {}

    def load(self, entries: Iterable[Entry], offset: int) -> None:
        """Replace the buffer by what the history holds."""
        self.buffer = deque(entries, self.buffer.maxlen)
        self.offset = self.offset_of(self.buffer[-1]) if self.buffer else offset
        self._replays.clear()

    def add(self, entry: Entry) -> None:
        """Append a live entry."""
        self.buffer.append(entry)
        self.offset = self.offset_of(entry)
        if self._replays:
            self._replays.clear()

    def replay(self, dialect: Dialect) -> WireMessage:
        """The `recent_events` message of the whole buffer; made once for all who ask between two events."""
        try:
            return self._replays[dialect]
        except KeyError:
            made = self._replays[dialect] = replay_message(dialect, self.buffer)
            return made

    def offset_of(self, entry: Entry) -> int:
        """The number that an entry has in this topic."""
        return entry.offsets[entry.topics.index(self.name)]

    @property
    def idle(self) -> bool:
        return not self.sessions and not self.joining
