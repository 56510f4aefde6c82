"""One client: who it is, what it subscribed to, and how far it has been served."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from events.conf import SessionLimits
from events.domain.topics import ALL, kind_of
from events.fanout.wire import Delivery, Dialect, Pipe, WireMessage, message

#: Replies to a client's own commands are not caught up later, so they may exceed the buffer; a client that goes on asking
#: without reading is cut at this multiple of it.
REPLY_ALLOWANCE = 4

#: Topics listed in a client's row.
ROW_TOPICS = 20


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
    topics:  what it subscribed to
    cursor:  None while live; else the number of the last entry considered, and the session is lagging
    offsets: while lagging, the offset of the last event served per topic, to tell exactly what was missed
    sent:    events delivered, replays included
    """

    sid: str
    dialect: Dialect
    pipe: Pipe
    limits: SessionLimits
    client: ClientInfo
    disconnect: Callable[[str], None]
    transport: str = "websocket"
    authenticated: bool = False
    connected_at: float = field(default_factory=time.time)
    topics: dict[str, Subscription] = field(default_factory=dict)
    cursor: int | None = None
    offsets: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    closed: bool = False

    @property
    def lagging(self) -> bool:
        return self.cursor is not None

    def emit(self, name: str, data: Any) -> None:
        """Send one event to this client alone."""
        self.emit_message(message(self.dialect, name, data))

    def emit_message(self, ready: WireMessage) -> None:
        """Send a message that is already encoded; cuts the client off when it does not read what it asks for."""
        if self.closed:
            return
        if self.pipe.pending > REPLY_ALLOWANCE * self.limits.buffer_bytes:
            self.disconnect("client does not read the answers to its commands")
            return
        self.pipe.write(ready)

    def deliver(self, deliveries: Sequence[Delivery]) -> bool:
        """Send live events. False when this client has too much unsent: then nothing was sent and it is to lag."""
        if self.pipe.pending > self.limits.buffer_bytes:
            return False
        dialect = self.dialect
        if len(deliveries) == 1:
            self.pipe.write(deliveries[0].message(dialect))
        else:
            self.pipe.write_many([delivery.message(dialect) for delivery in deliveries])
        self.sent += len(deliveries)
        return True

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
            "workflows": kinds["workflow"],
            "bots": kinds["bot"],
            "strategies": kinds["strategy"],
            "everything": bool(kinds[ALL]),
            "topics": list(islice(self.topics, ROW_TOPICS)),
            "sent": self.sent,
            "backlog_bytes": self.pipe.pending,
            "lagging": self.lagging,
        }

    def wants(self, delivery: Delivery) -> bool:
        """Whether an entry read from the journal is for this client."""
        topics = self.topics
        return any(topics[name].wants(delivery) for name in delivery.entry.topics if name in topics)
