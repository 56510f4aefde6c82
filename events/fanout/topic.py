"""A topic in the hub: its sessions and its recent buffer."""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from events.domain.entry import Entry
from events.fanout.session import Session
from events.fanout.wire import Delivery, Dialect, WireMessage, replay_message

#: The buffer of all topics without events: an empty deque of its own takes as much memory as all else of a topic.
_EMPTY: Final[deque[Entry]] = deque(maxlen=0)


class Topic:
    """One topic that somebody in this process subscribed to.

    The buffer is complete up to the hub's position, so joining is a set insertion and a copy of the buffer.
    """

    __slots__ = ("_capacity", "_replays", "buffer", "filtered", "joining", "name", "offset", "sessions")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self._capacity = capacity
        #: Who gets every event; who wants some types only is in `filtered`.
        self.sessions: set[Session] = set()
        self.filtered: dict[Session, frozenset[str]] = {}
        self.buffer = _EMPTY
        self.offset = 0
        #: Clients that wait for this topic to be read from history; keeps the topic alive until they have joined.
        self.joining = 0
        self._replays: dict[Dialect, WireMessage] = {}

    def load(self, entries: Iterable[Entry], offset: int) -> None:
        """Replace the buffer by what the history holds."""
        self.buffer = deque(entries, self._capacity) or _EMPTY
        self.offset = self.offset_of(self.buffer[-1]) if self.buffer else offset
        self._replays.clear()

    def add(self, entry: Entry, offset: int) -> None:
        """Append a live entry, which has this offset here."""
        if self.buffer is _EMPTY:
            self.buffer = deque(maxlen=self._capacity)
        self.buffer.append(entry)
        self.offset = offset
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

    def since(self, offset: int) -> list[Entry]:
        """What the buffer holds after an offset, oldest first."""
        return list(islice(self.buffer, max(0, offset - self.reach), None))

    @property
    def reach(self) -> int:
        """The offset after which the buffer holds every event."""
        return self.offset - len(self.buffer)

    def admit(self, session: Session, types: frozenset[str] | None) -> None:
        """Make a client a member, or change which types it wants."""
        self.expel(session)
        if types is None:
            self.sessions.add(session)
        else:
            self.filtered[session] = types

    def expel(self, session: Session) -> None:
        self.sessions.discard(session)
        self.filtered.pop(session, None)

    def members(self) -> list[Session]:
        return [*self.sessions, *self.filtered]

    def recipients(self, delivery: Delivery) -> set[Session]:
        """Who wants this event. Without filters that is the set of members itself; do not change it."""
        if not self.filtered:
            return self.sessions
        return self.sessions | {session for session, types in self.filtered.items() if delivery.type in types}

    @property
    def idle(self) -> bool:
        return not self.sessions and not self.filtered and not self.joining
