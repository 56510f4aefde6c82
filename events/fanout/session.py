"""One client: who it is, what it subscribed to, and how far it has been served."""

import json
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from events.conf import SessionLimits
from events.domain.grants import NOTHING, Grant
from events.domain.topics import ALL, kind_of
from events.fanout.wire import Delivery, Dialect, Parcel, Pipe, WireMessage, message
from events.limits.rate import TokenBucket

#: Replies to a client's own commands are not caught up later, so they may exceed the buffer; a client that goes on asking
#: without reading is cut at this multiple of it.
REPLY_ALLOWANCE = 4

#: Why a client is disconnected whose server process is about to end.
DRAINING = "server draining"

#: Why such a client is disconnected.
ANSWERS_UNREAD = "client does not read the answers to its commands"

#: Topics listed in a client's row.
ROW_TOPICS = 20

#: Commands of a client that are remembered, and characters of what each named.
RECENT_COMMANDS = 20
SUBJECT_LENGTH = 80


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Where a client comes from."""

    address: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic of a client.

    joined: number of the last entry that does not come live from this topic: the hub's position when the client joined
    types:  the event types that the client wants; None for all
    """

    joined: int
    types: frozenset[str] | None = None

    def wants(self, delivery: Delivery) -> bool:
        return self.joined < delivery.entry.number and (self.types is None or delivery.type in self.types)


@dataclass(eq=False, slots=True)
class Session:
    """One client of this process.

    transport: `websocket`, `polling` or `plain`
    authenticated: whether it has given a valid token
    unknown_since: by the monotonic clock: since when nobody knows whose the connection is, while it has no grant
    grant:   what it may do; None before it has given a valid token where one is required
    topics:  what it subscribed to
    cursor:  None while live; else the number of the last entry considered, and the session is lagging
    offsets: while lagging, the offset of the last event served per topic, to tell exactly what was missed
    sent:    events delivered, replays included
    replays: `recent_events` sent
    gaps:    times that it was told of events it misses; `missed` is how many they were, as far as that is known
    last_error: when the last `error` was sent, and its body
    allowance: what it may send
    commands: the last commands, one a line: as JSON, when, name, the id or type that it named, code of the error if it was
             refused. As one text, which takes half as much memory: each client has them
    """

    sid: str
    dialect: Dialect
    pipe: Pipe
    limits: SessionLimits
    client: ClientInfo
    disconnect: Callable[[str], None]
    transport: str = "websocket"
    authenticated: bool = False
    grant: Grant | None = None
    unknown_since: float = field(default_factory=time.monotonic)
    connected_at: float = field(default_factory=time.time)
    topics: dict[str, Subscription] = field(default_factory=dict)
    cursor: int | None = None
    offsets: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    replays: int = 0
    gaps: int = 0
    missed: int = 0
    last_error: tuple[float, dict[str, Any]] | None = None
    commands: bytes = b""
    closed: bool = False
    allowance: TokenBucket = field(init=False)
    _alone: "frozenset[Session] | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.allowance = TokenBucket(self.limits.messages)

    @property
    def alone(self) -> "frozenset[Session]":
        """This session as the only one of a topic: one object for all topics of which that is true."""
        if self._alone is None:
            self._alone = frozenset((self,))
        return self._alone

    def close(self) -> None:
        """Its connection has ended."""
        self.closed = True
        # They hold each other, and would stay until the garbage collector finds both.
        self._alone = None

    @property
    def lagging(self) -> bool:
        return self.cursor is not None

    def may_subscribe(self, topic: str) -> bool:
        """Whether its grant covers a topic now."""
        return self.grant is not None and self.grant.may_subscribe(topic)

    def emit(self, name: str, data: Any) -> None:
        """Send one event to this client alone."""
        self.emit_message(message(self.dialect, name, data))

    def emit_message(self, ready: WireMessage) -> None:
        """Send a message that is already encoded; cuts the client off when it does not read what it asks for."""
        if self.closed:
            return
        if self.pipe.pending > REPLY_ALLOWANCE * self.limits.buffer_bytes:
            self.disconnect(ANSWERS_UNREAD)
            return
        self.pipe.write(ready)

    def deliver(self, parcel: Parcel) -> bool:
        """Send live events. False when this client has too much unsent: then nothing was sent and it is to lag."""
        if not self.pipe.offer(parcel.bundle(self.dialect), self.limits.buffer_bytes):
            return False
        self.sent += parcel.count
        return True

    def tell_missed(self, body: Mapping[str, Any]) -> None:
        """Tell this client of events that it does not get."""
        self.emit("events_missed", body)
        first, last = body.get("from"), body.get("to")
        self.gaps += 1
        if first is not None and last is not None:
            self.missed += last - first + 1

    def note_command(self, name: str, subject: str, error: str) -> None:
        """Remember a command for whoever looks into what this client does."""
        # Not orjson, which takes no text with halves of surrogate pairs: names are the client's.
        note = json.dumps((time.time(), name, subject[:SUBJECT_LENGTH], error)).encode()
        self.commands = b"\n".join([*self.commands.splitlines()[1 - RECENT_COMMANDS :], note])

    def standing(self) -> Hashable:
        """Differs when the row does, unless only the traffic differs. Cheaper than a row."""
        topics = self.topics
        newest = next(reversed(topics), None)
        return self.transport, self.authenticated, self.grant, newest, len(topics), self.cursor is not None

    def traffic(self) -> Hashable:
        """Differs when the row does for what the client was sent."""
        return self.sent, self.pipe.pending

    def row(self) -> dict[str, Any]:
        """What is shown of this client in lists (`events.stats.ClientRow` less the process)."""
        kinds = Counter(kind_of(topic) for topic in self.topics)
        return {
            "sid": self.sid,
            "transport": self.transport,
            "address": self.client.address,
            "user_agent": self.client.user_agent,
            "connected_at": self.connected_at,
            "authenticated": self.authenticated,
            "token_id": (self.grant or NOTHING).token_id,
            "token_name": (self.grant or NOTHING).name,
            "workflows": kinds["workflow"],
            "bots": kinds["bot"],
            "strategies": kinds["strategy"],
            "everything": bool(kinds[ALL]),
            "topics": list(islice(self.topics, ROW_TOPICS)),
            "sent": self.sent,
            "backlog_bytes": self.pipe.pending,
            "lagging": self.lagging,
        }

    def detail(self) -> dict[str, Any]:
        """What is shown of this client alone (`events.control.ClientDetail`)."""
        at, error = self.last_error or (None, None)
        row = self.row()
        return {name: row[name] for name in _DETAIL_ROW} | {
            "subscriptions": [(name, sorted(each.types) if each.types else None) for name, each in self.topics.items()],
            "cursor": self.cursor,
            "replays": self.replays,
            "gaps": self.gaps,
            "missed": self.missed,
            "last_error": error,
            "last_error_at": at,
            "commands": [tuple(json.loads(note)) for note in reversed(self.commands.splitlines())],
        }

    def wants(self, delivery: Delivery) -> bool:
        """Whether an entry read from the journal is for this client."""
        topics = self.topics
        return any(topics[name].wants(delivery) for name in delivery.entry.topics if name in topics)


#: Fields of a row that the page of one client has too.
_DETAIL_ROW = (
    "sid", "transport", "address", "user_agent", "connected_at", "authenticated", "token_id", "token_name", "sent",
    "backlog_bytes", "lagging",
)  # fmt: skip
