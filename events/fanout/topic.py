"""A topic in the hub: its sessions and its recent buffer."""

from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final

from events.domain.entry import Entry
from events.fanout.session import Session
from events.fanout.wire import Delivery, Dialect, WireMessage, replay_message

# What topics have none of they share: most have one session, no filters and no events, and a client may open a thousand of
# them. With collections of its own an empty topic took three times as much memory. Nothing is ever put into these.
_EMPTY: Final[deque[Entry]] = deque(maxlen=0)
_NOBODY: Final[frozenset[Session]] = frozenset()
_NO_MEMBERS: Final[dict[Session, None]] = {}
_UNFILTERED: Final[dict[Session, frozenset[str]]] = {}
_NOT_REPLAYED: Final[dict[Dialect, WireMessage]] = {}


class Topic:
    """One topic that somebody in this process subscribed to.

    The buffer is complete up to the hub's position, so joining is a set insertion and a copy of the buffer.
    """

    __slots__ = ("_capacity", "_members", "_replays", "buffer", "filtered", "joining", "name", "offset", "sessions")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self._capacity = capacity
        #: Who gets every event; who wants some types only is in `filtered`. Several are in the order in which they came,
        #: as they lie in memory, here and in the system: ten thousand do not fit into the caches.
        self.sessions: AbstractSet[Session] = _NOBODY
        self._members = _NO_MEMBERS
        self.filtered = _UNFILTERED
        self.buffer = _EMPTY
        self.offset = 0
        #: Clients that wait for this topic to be read from history; keeps the topic alive until they have joined.
        self.joining = 0
        self._replays = _NOT_REPLAYED

    def load(self, entries: Iterable[Entry], offset: int) -> None:
        """Replace the buffer by what the history holds."""
        self.buffer = deque(entries, self._capacity) or _EMPTY
        self.offset = self.offset_of(self.buffer[-1]) if self.buffer else offset
        self._replays = _NOT_REPLAYED

    def add(self, entry: Entry, offset: int) -> None:
        """Append a live entry, which has this offset here."""
        if self.buffer is _EMPTY:
            self.buffer = deque(maxlen=self._capacity)
        self.buffer.append(entry)
        self.offset = offset
        self._replays = _NOT_REPLAYED

    def replay(self, dialect: Dialect) -> WireMessage:
        """The `recent_events` message of the whole buffer; made once for all who ask between two events."""
        try:
            return self._replays[dialect]
        except KeyError:
            made = replay_message(dialect, self.buffer)
            self._replays = self._replays | {dialect: made}
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
        if types is not None:
            self._filter(session, types)
        elif self._members is not _NO_MEMBERS:
            self._members[session] = None
        elif self.sessions:
            self._members = dict.fromkeys((*self.sessions, session))
            self.sessions = self._members.keys()
        else:
            self.sessions = session.alone

    def _filter(self, session: Session, types: frozenset[str]) -> None:
        if self.filtered is _UNFILTERED:
            self.filtered = {}
        self.filtered[session] = types

    def expel(self, session: Session) -> None:
        if self._members is not _NO_MEMBERS:
            self._members.pop(session, None)
        elif session in self.sessions:
            self.sessions = _NOBODY
        self.filtered.pop(session, None)

    def members(self) -> list[Session]:
        return [*self.sessions, *self.filtered]

    def recipients(self, delivery: Delivery) -> AbstractSet[Session]:
        """Who wants this event. Without filters that is the set of members itself; do not change it."""
        if not self.filtered:
            return self.sessions
        return self.sessions | {session for session, types in self.filtered.items() if delivery.type in types}

    @property
    def idle(self) -> bool:
        return not self.sessions and not self.filtered and not self.joining
