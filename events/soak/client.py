"""One client: subscribes, comes back after every cut, resumes, and keeps account of what it got."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import orjson

from events.bus.redis_stream import RedisStreamReader
from events.domain.topics import ALL, ALL_BOTS, identifier_of, kind_of
from events.protocol.errors import ProtocolError
from events.soak.latency import Latencies
from events.soak.ledger import Published, Stream
from events.soak.traffic import FIELD
from events.soak.transports import OnMessage, PollingTransport, Transport, WebSocketTransport

#: How the server announces a gap of the bus itself.
BUS: Final = "bus"

#: Pause before a client connects again, drawn from between the two; the second doubles with each failure up to the third.
RECONNECT_S: Final = (0.1, 0.5, 2.0)

#: After `server_draining` some come back at once when their connection ends, as our own clients do, and the others after a
#: pause like the one of Socket.IO's.
SENT_AWAY_S: Final = (0.5, 1.5)

#: Breaches of the protocol that a client remembers; one is enough to fail the soak.
MAX_BREACHES: Final = 5

#: Pause before a subscription that the server could not take is tried again.
RESUBSCRIBE_S: Final = 0.5

TRANSPORTS: Final[dict[str, Callable[[int, OnMessage], Transport]]] = {
    "websocket": WebSocketTransport,
    "polling": PollingTransport,
}

# Socket.IO packets without the Engine.IO type before them.
_CONNECTED: Final = b"0"
_DISCONNECT: Final = b"1"
_EVENT: Final = b"2["
_ACK: Final = b"3"


@dataclass(slots=True)
class Tally:
    """What one client counted.

    live:        events that were pushed
    resumed:     events that were replayed to it when it came back
    latencies:   of what came live; `late_latencies` of what was replayed, and of what waited while it did not read
    stray:       live events of no topic that it was subscribed to at that moment
    reconnects:  connections after the first
    recovered:   subscriptions resumed without a gap; `unrecovered` those with one
    missed:      how often it was told that it misses events of a topic; `notices` how often that the bus has a gap
    errors:      `error` events
    silence_s:   the longest time between two events
    returns:     when its connections after the first began (monotonic)
    """

    live: int = 0
    resumed: int = 0
    stray: int = 0
    reconnects: int = 0
    recovered: int = 0
    unrecovered: int = 0
    missed: int = 0
    notices: int = 0
    errors: int = 0
    silence_s: float = 0.0
    returns: list[float] = field(default_factory=list)
    latencies: Latencies = field(default_factory=Latencies)
    late_latencies: Latencies = field(default_factory=Latencies)


class Subscription:
    """One topic of a client.

    epoch, offset: where it resumes; moved by what comes of the topic while it is confirmed
    confirmed:     `subscribed` has come on this connection
    settled:       a live event has come that is the next one. Until then, a live event came for another topic of the client,
                   and the replay will bring it again.

    An event of two topics of the client may come twice while one of them is replayed: by the replay, and live for the other
    topic. A client drops what it has by `event_id`. This one does so only where the repetition is explained: all others count.
    """

    def __init__(self, topic: str, stream: Stream) -> None:
        self.topic = topic
        self.stream = stream
        self.kind = kind_of(topic)
        self.id_field = f"{self.kind}_id"
        self.identifier = identifier_of(topic)
        self.epoch: str | None = None
        self.offset = 0
        self.confirmed = self.settled = False
        # The topic's offset when it was subscribed to, and that of the last event that the ledger has.
        self._answered = 0
        self._taken = 0
        # On this connection: the first offset that came live, and what came by replay.
        self._live_from: int | None = None
        self._replayed: set[int] = set()

    def command(self, ack_id: int) -> bytes:
        """The Socket.IO packet that subscribes, or resumes."""
        data: dict[str, Any] = {"epoch": self.epoch, "offset": None if self.epoch is None else self.offset}
        if self.topic != ALL:
            data[self.id_field] = self.identifier
        name = f"subscribe_{ALL_BOTS if self.topic == ALL else self.kind}"
        return b"2%d" % ack_id + orjson.dumps([name, data])

    def matches(self, event: dict[str, Any]) -> bool:
        """Whether the event is of this topic."""
        return self.kind == ALL or event.get(self.id_field) == self.identifier

    def answered(self, data: dict[str, Any]) -> None:
        """`subscribed` has come: what comes of this topic from now on counts."""
        self.confirmed, self.settled, self._live_from = True, False, None
        self._replayed.clear()
        self.stream.subscribed()
        self._answered = data["offset"]
        if self.epoch is None:
            self.offset = self._taken = self._answered
        elif data["epoch"] != self.epoch or self._answered < self.offset:
            # Another life of the history: its offsets begin anew. The replay moves this one, in case it does not arrive.
            self.offset = 0
        self.epoch = data["epoch"]

    def replayed(self, event: dict[str, Any], number: int, *, shared: bool) -> None:
        """An event came as part of this topic's replay. `shared` says that it is of another topic of the client, too."""
        came_live = self._live_from is not None and event["offsets"][self.kind] >= self._live_from
        if not (shared and came_live and self.stream.has(number)):
            self._take(event, number)
        if shared:
            self._replayed.add(number)

    def live(self, event: dict[str, Any], number: int, *, shared: bool) -> None:
        """A live event of this topic came; perhaps for another topic."""
        offset: int = event["offsets"][self.kind]
        if not self.settled:
            if shared and offset - 1 not in (self.offset, self._answered):
                return
            self.settled, self._live_from = True, offset
        if shared and number in self._replayed:
            return
        if self.stream.excused:
            self.stream.live(number)
        self._take(event, number)

    def missed(self, data: dict[str, Any]) -> None:
        """The client is told what it misses, by offsets; the ledger wants places relative to the next event."""
        first, last = data["from"], data["to"]
        if first is None or last is None:
            self.stream.tell_unknown()
            if data["epoch"] != self.epoch:
                self.epoch, self.offset, self._taken = data["epoch"], 0, 0
        else:
            self.stream.tell(first - self._taken - 1, last - first + 1)
            self.offset = max(self.offset, last)

    def _take(self, event: dict[str, Any], number: int) -> None:
        self.stream.take(number)
        offset: int = event["offsets"][self.kind]
        self._taken = max(self._taken, offset)
        self.offset = max(self.offset, offset)


class SoakClient:
    """Stays connected until told to leave. Server processes are named by their ports, and tried in turn."""

    def __init__(self, name: str, transport: str, ports: Sequence[int], random: Random) -> None:
        self.name = name
        self.kind = transport
        self.tally = Tally()
        self.subscriptions: list[Subscription] = []
        #: What servers sent that the protocol does not allow.
        self.breaches: deque[str] = deque(maxlen=MAX_BREACHES)
        self._ports = ports
        self._turn = random.randrange(len(ports))
        self._knows_draining = random.random() < 0.5
        self._sent_away = False
        self._random = random
        self._transport: Transport | None = None
        self._replaying: Subscription | None = None
        self._connections = 0
        self._failures = 0
        self._away_s = 0.0
        self._last = 0.0
        self._stalled_until = 0.0
        self._retries: list[asyncio.TimerHandle] = []
        self._handlers: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
            "workflow_event": self._live,
            "connected": self._greeted,
            "subscribed": self._subscribed,
            "recent_events": self._replayed,
            "events_missed": self._missed,
            "error": self._error,
            "server_draining": self._draining,
        }

    def subscribe(self, topics: Sequence[str], published: Published, *, from_start: bool) -> None:
        """Choose the topics; to be called before `run`. `from_start` says that nothing has been published yet."""
        self.subscriptions = [Subscription(topic, Stream(published.of(topic), from_start=from_start)) for topic in topics]

    @property
    def subscribed(self) -> bool:
        """Whether all its subscriptions stand now."""
        return bool(self.subscriptions) and all(subscription.confirmed for subscription in self.subscriptions)

    @property
    def complete(self) -> bool:
        """Whether the last event of each of its topics has come."""
        return all(subscription.stream.complete for subscription in self.subscriptions)

    def drop(self, away_s: float) -> None:
        """Lose the connection, and come back after so long."""
        if self._transport is not None:
            self._away_s = away_s
            self._transport.drop()

    def stall(self, seconds: float) -> None:
        """Do not read for so long."""
        if self._transport is not None:
            self._stalled_until = time.monotonic() + seconds
            self._transport.stall(seconds)

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is over, until cancelled."""
        while True:
            self._turn = (self._turn + 1) % len(self._ports)
            self._transport = TRANSPORTS[self.kind](self._ports[self._turn], self._take)
            try:
                await self._transport.run()
            except (OSError, TimeoutError):
                pass  # However it ended, it is over.
            except ProtocolError as error:
                self.breaches.append(str(error))
            finally:
                self._cut()
            await asyncio.sleep(self._pause_s())

    def _cut(self) -> None:
        self._transport = self._replaying = None
        for subscription in self.subscriptions:
            subscription.confirmed = subscription.settled = False
        for retry in self._retries:
            retry.cancel()
        self._retries.clear()

    def _pause_s(self) -> float:
        self._failures += 1
        away_s, self._away_s = self._away_s, 0.0
        if self._sent_away:
            self._sent_away = False
            return 0.0 if self._knows_draining else self._random.uniform(*SENT_AWAY_S)
        low, high, highest = RECONNECT_S
        return away_s + self._random.uniform(low, min(high * 2 ** (self._failures - 1), highest))

    # -- what comes -----------------------------------------------------------------------------------------------------

    def _take(self, message: bytes) -> None:
        if message.startswith(_EVENT):
            name, *args = orjson.loads(message[1:])
            self._handle(name, args)
        elif message.startswith(_ACK):
            self._acknowledged(message)
        elif message.startswith(_DISCONNECT) and self._transport is not None:
            self._transport.drop()

    def _handle(self, name: str, args: list[Any]) -> None:
        handler = self._handlers.get(name)
        if handler is None:
            return
        try:
            handler(args[0])
        except (KeyError, IndexError, TypeError) as error:
            raise ProtocolError(f"{name} is not as documented: {error!r} in {args!r:.200}") from error

    def _greeted(self, data: dict[str, Any]) -> None:
        self._failures = 0
        self._connections += 1
        self.tally.reconnects = self._connections - 1
        if self.tally.reconnects:
            self.tally.returns.append(time.monotonic())
        for place in range(len(self.subscriptions)):
            self._subscribe(place)

    def _subscribe(self, place: int) -> None:
        if self._transport is not None:
            self._transport.send(self.subscriptions[place].command(place))

    def _acknowledged(self, message: bytes) -> None:
        """The answer to the subscription with this number. One that was refused is tried again."""
        number, bracket, body = message[1:].partition(b"[")
        answer = orjson.loads(bracket + body)
        if answer and "code" in answer[0]:
            loop = asyncio.get_running_loop()
            self._retries.append(loop.call_later(RESUBSCRIBE_S, self._subscribe, int(number)))

    def _subscribed(self, data: dict[str, Any]) -> None:
        subscription = self._find(data)
        resuming = subscription.epoch is not None
        subscription.answered(data)
        self._replaying = subscription
        if resuming:
            if data["recovered"]:
                self.tally.recovered += 1
            else:
                self.tally.unrecovered += 1

    def _replayed(self, data: dict[str, Any]) -> None:
        """A replay is of the topic that was subscribed to last, and of no other: where topics overlap, each has its own."""
        subscription = self._replaying
        for event in data["events"]:
            if FIELD not in event or subscription is None or not subscription.matches(event):
                self.tally.stray += 1
                continue
            subscription.replayed(event, event[FIELD]["n"], shared=self._shared(event))
            if self._connections > 1:
                self.tally.resumed += 1
                self._time(event, late=True)

    def _live(self, event: dict[str, Any]) -> None:
        counts = event.get(FIELD)
        if counts is None:
            self.tally.stray += 1
            return
        number: int = counts["n"]
        matching = [
            subscription for subscription in self.subscriptions if subscription.confirmed and subscription.matches(event)
        ]
        for subscription in matching:
            subscription.live(event, number, shared=len(matching) > 1)
        self.tally.live += 1
        self.tally.stray += not matching
        self._time(event, late=False)

    def _time(self, event: dict[str, Any], *, late: bool) -> None:
        now, published = time.monotonic(), event[FIELD]["at"] / 1e9
        late = late or published < self._stalled_until
        (self.tally.late_latencies if late else self.tally.latencies).add(now - published)
        if self._last and now - self._last > self.tally.silence_s:
            self.tally.silence_s = now - self._last
        self._last = now

    def _shared(self, event: dict[str, Any]) -> bool:
        """Whether several topics of the client have this event."""
        return sum(subscription.matches(event) for subscription in self.subscriptions) > 1

    def _missed(self, data: dict[str, Any]) -> None:
        if data["type"] != BUS:
            self.tally.missed += 1
            self._find(data).missed(data)
            return
        self.tally.notices += 1
        if data["source"] == RedisStreamReader.name:
            # Nobody can know of which topics they were.
            for subscription in self.subscriptions:
                subscription.stream.tell_unknown()

    def _error(self, data: dict[str, Any]) -> None:
        self.tally.errors += 1

    def _draining(self, data: dict[str, Any]) -> None:
        self._sent_away = True

    def _find(self, data: dict[str, Any]) -> Subscription:
        kind = data["type"]
        for subscription in self.subscriptions:
            if subscription.kind == ALL and kind == ALL_BOTS:
                return subscription
            if subscription.kind == kind and subscription.identifier == data[subscription.id_field]:
                return subscription
        raise ProtocolError(f"an answer about {data!r:.100}, which nobody asked for")
