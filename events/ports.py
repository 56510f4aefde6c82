"""What the fan-out needs from the world, each port with its guarantee.

Every port has a memory adapter (the embedded server) and a Redis adapter (several processes); both pass the same contract
suite in tests/contracts. Adapters raise `Unavailable` when their backend cannot be reached or refuses to serve, and
nothing else that a caller is expected to handle unless a method says so.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

from events.domain.durations import Durations
from events.domain.entry import Entry, Position
from events.domain.event import Event
from events.domain.execution import Execution


class Unavailable(Exception):
    """The backend of a port cannot be reached or refuses to serve. The message says which one and why."""


class FencedOut(Exception):
    """A writer with an older fencing token than the newest was refused: somebody else leads now."""


class Moved(Exception):
    """The history is not where the writer believed it to be; nothing was written. `position` is where it is."""

    def __init__(self, position: Position) -> None:
        super().__init__(f"the history is at {position}")
        self.position = position


# -- event bus ---------------------------------------------------------------------------------------------------------


class BusEntry(NamedTuple):
    """One published document. A tuple, as one is made for each.

    cursor: where the next read goes on from; empty for inputs that keep nothing. Its text means something to the input alone
    at:     Unix time in seconds at which the bus took it, or, of a bus that does not say, at which it was heard; 0 when not
            known
    canary: True for what `EventBus.publish_canary` put there; the document is then empty
    """

    cursor: str
    document: bytes
    at: float = 0.0
    canary: bool = False


@dataclass(frozen=True, slots=True)
class BusGap:
    """Documents that were published and that this input could not, or perhaps could not, read.

    source: the input's name
    reason: `trimmed`: they left the bus before they were read. `recreated`: the bus lost what it had (it was deleted, or
            restored from an older file); what had not been read is gone. `deaf`: nobody listened. `dropped`: they came
            faster than the relay read.
    count:  how many; None when nobody can know
    since:  Unix time in seconds of the last moment before the gap, `until` of the first after it; None when not known
    """

    source: str
    reason: Literal["trimmed", "recreated", "deaf", "dropped"]
    count: int | None = None
    since: float | None = None
    until: float | None = None


@dataclass(slots=True)
class Queue:
    """How full a bounded queue of this process is: `bound` items at most, `waiting` now, `dropped` since the start because it
    was full."""

    bound: int
    waiting: int = 0
    dropped: int = 0


class EventBus(Protocol):
    """Where executors publish."""

    async def publish(self, documents: Sequence[bytes]) -> list[str]:
        """Put documents on the bus, in order; returns the bus's id of each. When it returns, the bus has them all."""

    async def publish_canary(self, *, trim: bool) -> None:
        """Put an entry on the bus that is no event and says nothing, among the documents, for the relay alone.

        With `trim`, what is beyond the bus's bound leaves it as when documents are published. Without, nothing does.
        """

    async def fill(self) -> dict[str, Queue]:
        """What the bus keeps for all processes together, with its bound, by name: what waits for the relay, perhaps more."""

    async def close(self) -> None: ...


class BusReader(Protocol):
    """One input of the relay.

    name:    the name under which the history keeps this input's cursor
    durable: True when documents stay on the bus until trimmed, so that reading goes on after the last cursor without
             loss. False when only what is published while somebody reads can be had; `cursor` is then ignored.
    reads_ahead: True when reading on drops nothing of what was read before, so that it may be done before that is written
    """

    name: str
    durable: bool
    reads_ahead: bool

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        """Up to `limit` documents after `cursor` (empty: from the oldest kept), in the order of publishing.

        Returns as soon as there is one, with all that have accumulated up to the limit and to a few megabytes; an empty
        list after `wait_s`. Must not be called twice at once.
        """

    def gaps(self) -> list[BusGap]:
        """What was found missing since the last call, oldest first.

        In a durable input it lay before what the read that found it returned. A reader that is made anew finds the same gap
        again while the cursor it is given lies before it.
        """

    def queue(self) -> Queue | None:
        """What documents wait in for the relay; None when this process does not hold them."""

    async def close(self) -> None: ...


# -- history -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A document that was refused.

    document:  cut where it is larger than an event may be; `size` is the bytes that it had
    at:        Unix time in seconds
    letter_id: names it in the history; empty before it is there
    """

    source: str
    field: str
    reason: str
    document: bytes
    at: float
    size: int = 0
    letter_id: str = dataclasses.field(default="", compare=False)

    @property
    def whole(self) -> bool:
        return self.size <= len(self.document)


@dataclass(frozen=True, slots=True)
class Append:
    """What the relay writes in one atomic step.

    fence:    the writer's fencing token
    expected: where the writer believes the history to be
    source:   the input that was read, and `cursor` how far (empty: the input keeps no cursor)
    executions: each execution that the events belong to, as it is after them; what was kept of it before is replaced
    """

    fence: int
    expected: Position
    source: str
    cursor: str
    events: Sequence[Event] = ()
    rejected: Sequence[DeadLetter] = ()
    executions: Sequence[Execution] = ()


@dataclass(frozen=True, slots=True)
class JournalPage:
    """A run of the journal: entries with consecutive numbers, after the number asked for.

    epoch:    the history's present epoch
    entries:  consecutive; when the first is not the successor of the number asked for, what lies between was trimmed
    number:   the number of the journal's last entry, whether or not it is on this page
    """

    epoch: str
    entries: Sequence[Entry]
    number: int


@dataclass(frozen=True, slots=True)
class Recent:
    """The last events of a topic, oldest first, and the topic's offset (0 when it never had an event)."""

    epoch: str
    offset: int
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class TopicPage:
    """A run of one topic: entries with consecutive offsets, oldest first, after the offset asked for.

    epoch:    the history's present epoch; offsets of another one mean nothing in it
    offset:   the topic's present offset (0 when it never had an event), whether or not that entry is on this page
    entries:  consecutive; when the first is not the successor of the offset asked for, what lies between is in no history
              any more. Empty although `offset` is larger: all of it is gone.
    """

    epoch: str
    offset: int
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The executions of a topic, all as they were at one moment.

    offset:     the topic's offset at that moment (0 when it never had an event): live events with larger offsets are news
    number:     the history's number at that moment
    executions: the one with the newest event first
    """

    epoch: str
    offset: int
    number: int
    executions: Sequence[Execution]


class History(Protocol):
    """The journal (all recent events in order), the recent buffer of each topic, the offsets, and the inputs' cursors.

    An epoch lasts until the history is lost. Within it, numbers and each topic's offsets grow by one per event.
    """

    async def append(self, batch: Append) -> list[Entry]:
        """Write events, their offsets, the dead letters and the input's cursor: all of it or nothing.

        Raises `FencedOut` when a newer fencing token has written, `Moved` when the history is not at `expected`.
        After `Unavailable` the caller cannot know whether the step was taken; `position` tells.
        """

    def prepare(self, batch: Append) -> None:
        """`append` of this very batch is likely to come next, after the one that is under way: do beforehand what can be done
        without the store. It changes nothing that anybody can see, and need not be called."""

    async def cursor(self, source: str) -> str:
        """How far an input has been read; empty when never."""

    async def position(self) -> Position:
        """Where the history is. Gives an empty history its epoch."""

    async def witness(self, position: Position) -> Position:
        """Somebody has seen `position`. Returns where the history is now.

        A history that is in the same epoch but behind has lost its end (an older file was restored): it begins a new epoch,
        as it does for a writer that has seen more. Doing it again changes nothing.
        """

    async def read(self, after: int, limit: int) -> JournalPage:
        """Up to `limit` journal entries with numbers above `after`."""

    async def recent(self, topics: Sequence[str]) -> list[Recent]:
        """The recent buffer of each topic asked for, in one round trip."""

    async def since(self, topic: str, offset: int, limit: int) -> TopicPage:
        """Up to `limit` entries of a topic with offsets above `offset`, from as far back as the journal or the topic's recent
        buffer reach; fewer when their documents have more than a few megabytes, but never none while there are some."""

    async def executions(self, ids: Sequence[str]) -> list[Execution | None]:
        """The state of each execution asked for; None for one that is not known, or not any more."""

    async def snapshot(self, topic: str, limit: int, status: str | None = None) -> Snapshot:
        """The executions of a topic, up to `limit`, all of them or those with one status, read in one atomic step.

        Looks at no more than the `executions_per_topic` (see `HistoryLimits`) that had the newest events.
        """

    async def trim(self, now: float) -> int:
        """Drop journal entries older than the age cap (`now` is Unix time); returns how many. Called by the leader."""

    async def rejected(self, limit: int, before: str = "") -> list[DeadLetter]:
        """Up to `limit` dead letters, newest first: the newest, or those older than the one with the id `before`."""

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        """One dead letter; None when it is not kept any more."""

    async def discard(self, letter_id: str) -> bool:
        """Forget a dead letter; False when it was not there."""

    async def fill(self) -> dict[str, Queue]:
        """How many entries the `journal` and how many `dead_letters` there are, with their bounds."""

    async def close(self) -> None: ...


# -- fan-out between processes -----------------------------------------------------------------------------------------


class Trace(NamedTuple):
    """One of the few events whose way is recorded: its number in the journal, a W3C `traceparent` that names the relay's span,
    and the Unix time at which the bus took it."""

    number: int
    traceparent: str
    published: float


class Batch(NamedTuple):
    """Consecutive entries, the first of which follows entry number `first - 1`. A tuple, as each server process makes one of
    each message.

    published: Unix time at which the bus took the oldest of them, `relayed` at which the history had them, or at which they
               were made ready for a history that announces them itself; 0 when not known
    traces:    those of the entries whose way is recorded
    """

    epoch: str
    first: int
    entries: Sequence[Entry]
    published: float = 0.0
    relayed: float = 0.0
    traces: Sequence[Trace] = ()


@dataclass(frozen=True, slots=True)
class Canary:
    """An entry that travelled from the bus through the relay, and nothing else: it shows whether that way is open.

    published: Unix time at which the relay put it on the bus, `relayed` at which the history had taken the step with it; both
               by the relay's clock
    """

    published: float
    relayed: float


class Sealed(NamedTuple):
    """A batch as a store hands it to the group: messages that are published on a channel, in order."""

    channel: str
    messages: Sequence[bytes]


class Announcer(Protocol):
    """Has a history tell the group of a step within the step: what it takes is on its way one round trip sooner, and what it
    does not take nobody hears of."""

    def seal(self, batch: Batch) -> Sealed | None:
        """What is to be published for a batch once the history has it; None when only the relay can send it."""

    def announced(self, end: Position) -> None:
        """The batch that ends at this place was published."""


class GroupSender(Protocol):
    """The relay's side of the group. At most once: a message may be lost, repeated or reordered, and nobody is told."""

    async def send(self, batch: Batch) -> None:
        """Send a batch that the history has, unless the history has announced it already (`Announcer`)."""

    async def heartbeat(self, position: Position) -> None: ...

    async def announce(self, gap: BusGap) -> None:
        """Tell of documents that an input could not read."""

    async def pass_on(self, canary: Canary) -> None: ...


class GroupReceiver(Protocol):
    """The hub's side of the group. All are called on the event loop, one at a time, and must not block."""

    def receive(self, batch: Batch) -> None: ...

    def receive_heartbeat(self, position: Position) -> None: ...

    def receive_gap(self, gap: BusGap) -> None: ...

    def receive_canary(self, canary: Canary) -> None: ...


class Tracer(Protocol):
    """Records the way of some events. The relay chooses them, and its choice travels with the batch. Never waits or fails."""

    def relayed(self, source: str, events: Sequence[Event], entries: Sequence[Entry]) -> Sequence[Trace]:
        """The history has just taken `events`, which `source` brought, as `entries`. Returns those that were chosen."""

    def sent(self) -> None:
        """What was relayed was handed to the group, or the group did not take it."""

    def delivered(self, trace: Trace, relayed: float, heard: float, clients: int) -> None:
        """An event that was in the history at `relayed` and heard at `heard` (Unix time) has just been written to the sockets
        of so many clients."""

    def close(self) -> None:
        """Send what was recorded. Blocks, for a short time."""


class NoTracer:
    """Records nothing."""

    def relayed(self, source: str, events: Sequence[Event], entries: Sequence[Entry]) -> Sequence[Trace]:
        return ()

    def sent(self) -> None:
        pass

    def delivered(self, trace: Trace, relayed: float, heard: float, clients: int) -> None:
        pass

    def close(self) -> None:
        pass


class GroupInbox(Protocol):
    """Joins the group and hands what arrives to a receiver."""

    async def run(self, receiver: GroupReceiver) -> None:
        """Stays joined until cancelled. Any other return or exception means that the process is deaf: run it again."""


# -- leadership --------------------------------------------------------------------------------------------------------


class Lease(Protocol):
    """Who leads. At most one owner holds the lease at a time as long as clocks run at about the same speed; the fencing
    token protects the history where they do not (a process that was stopped and resumed)."""

    async def acquire(self, owner: str, ttl_s: float) -> int | None:
        """Take the lease if nobody holds it. Returns a fencing token larger than all before, or None."""

    async def renew(self, owner: str, ttl_s: float) -> bool:
        """Prolong the lease; False when `owner` does not hold it any more."""

    async def release(self, owner: str) -> None:
        """Give the lease back at once, if `owner` holds it."""

    async def holder(self) -> str | None: ...


# -- what is known of other processes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What one process says of itself.

    kind:     `server` or `runbus`
    started:  Unix time; `at` is when the report was made
    gauges:   what is true now (clients, subscriptions, ...)
    counters: what was counted since the previous report; the registry adds them up over all processes, dead ones too
    counted:  the same since the process started, for whoever compares two reports
    """

    process: str
    kind: str
    host: str
    pid: int
    started: float
    at: float
    gauges: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClientChanges:
    """How a process's clients differ from what it told before.

    rows: the row of each client that is new or changed, by sid, as JSON (see `events.stats.ClientRow`)
    gone: clients that left
    anew: True when what was told before is to be forgotten first
    """

    rows: Mapping[str, bytes] = field(default_factory=dict)
    gone: Sequence[str] = ()
    anew: bool = False


class ClientRegistry(Protocol):
    """Who is connected where. A process that stops reporting is gone after `ttl_s`, whether or not it said goodbye."""

    async def report(self, report: ProcessReport, ttl_s: float) -> None:
        """Replace this process's earlier report, and add its counters to the totals: both or neither."""

    async def withdraw(self, process: str) -> None:
        """Forget a process that ends. Its part of the totals stays."""

    async def reports(self) -> list[ProcessReport]:
        """The report of each live process."""

    async def totals(self) -> dict[str, int]:
        """The counters of all processes that ever reported."""

    async def put_clients(self, process: str, changes: ClientChanges, ttl_s: float) -> int:
        """Change the rows of a process's clients, and keep all of them for `ttl_s` from now. Returns how many rows there are
        then: another number than the caller has clients told of means that the registry lost some, and wants them anew."""

    async def clients(self, process: str) -> dict[str, bytes]:
        """The rows of a process's clients by sid. Changes that come while they are read may or may not be in it."""

    async def client(self, sid: str) -> bytes | None:
        """The row of one client, whichever live process it is connected to."""

    async def close(self) -> None: ...


# -- requests to another process ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """What is asked of the process that owns a client. `fields` are what the action needs besides."""

    action: str
    sid: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ControlReply:
    """What became of a request.

    outcome: `done`. `refused`: nothing was done, `detail` says why. `unheard`: the process did not hear it in time and never
             will, so nothing was done. `unknown`: the process took it and did not say in time what became of it.
    data:    what was asked for
    """

    outcome: Literal["done", "refused", "unheard", "unknown"]
    detail: str = ""
    data: dict[str, Any] = field(default_factory=dict)


CarryOut = Callable[[ControlRequest], ControlReply]


class ControlChannel(Protocol):
    """Requests from any process to a named one. Each is carried out at most once, and whoever asked learns whether."""

    async def ask(self, process: str, request: ControlRequest, wait_s: float) -> ControlReply:
        """Ask, and wait up to `wait_s` for the reply. After `Unavailable` nobody can know whether it was carried out."""

    async def serve(self, process: str, carry_out: CarryOut) -> None:
        """Carry out what is asked of `process`, one request at a time, until cancelled. `carry_out` must not block or raise."""


#: From all is well to the end of it.
EMERGENCY_STATES: Final = ("normal", "alert", "halt", "shutdown")


@dataclass(frozen=True, slots=True)
class Emergency:
    """The platform's emergency state: `normal`, `alert`, `halt` or `shutdown`, why, since when (Unix time; 0: unknown), and who
    set it, for operators."""

    state: str = "normal"
    reason: str = ""
    at: float = 0.0
    by: str = ""


#: Emergency states that are remembered, the present one included.
EMERGENCY_CHANGES: Final = 50


#: Workflows of which it is remembered what their nodes take.
MAX_WORKFLOWS: Final = 2_000


#: How long samples are kept, and how many of all processes together.
SAMPLES_AGE_S = 3_600
MAX_SAMPLES = 20_000


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process did in the `span_s` seconds before `at` (Unix time), and how it stood then.

    received:    events relayed, `rejected` documents refused, `sent` events delivered
    relay_lag_s: how far its relay was behind; None for a process that did not lead
    latency:     deliveries by how long they took from the bus to the socket (see `events.fanout.latency`)
    """

    process: str
    kind: str
    at: float
    span_s: float
    clients: int
    lagging: int
    received: int
    sent: int
    rejected: int
    relay_lag_s: float | None
    latency: list[int]


class StateStore(Protocol):
    """Small pieces of shared state, and the proof that the store behind them serves."""

    async def ping(self) -> None:
        """Raises `Unavailable` unless the store can be read and written now."""

    async def emergency(self) -> Emergency: ...

    async def set_emergency(self, emergency: Emergency) -> None: ...

    async def emergencies(self) -> list[Emergency]:
        """The last `EMERGENCY_CHANGES` that were set, newest first."""

    async def keep_durations(self, found: Mapping[str, Durations]) -> None:
        """Remember how long nodes took, by workflow and node, beside what is remembered (`events.domain.durations`). Beyond
        `MAX_WORKFLOWS` those are forgotten of which nothing was kept for longest. One caller at a time: the leader."""

    async def durations(self, workflows: Sequence[str]) -> dict[str, dict[str, list[float]]]:
        """What is remembered of these workflows, without those of which nothing is."""

    async def add_sample(self, sample: Sample) -> None:
        """Keep a sample for `SAMPLES_AGE_S`; beyond about `MAX_SAMPLES` the oldest go earlier."""

    async def samples(self) -> list[Sample]:
        """What is kept, oldest first."""

    async def close(self) -> None: ...
