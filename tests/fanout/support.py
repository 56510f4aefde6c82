"""Instruments for the fan-out: a client whose reading a test controls, a history that fails on demand, an unruly group."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import orjson

from events.access.authority import Authority
from events.commands import CommandHandler
from events.conf import EventsConfig, HistoryLimits, SessionLimits
from events.domain.entry import Entry, Position
from events.domain.event import Event
from events.domain.execution import Execution
from events.fanout.hub import Hub
from events.fanout.session import ClientInfo, Session
from events.fanout.wire import Bundle, Dialect, WireMessage
from events.history.memory import MemoryHistory
from events.ports import Append, Batch, BusGap, Canary, DeadLetter, JournalPage, Queue, Recent, Snapshot, TopicPage, Unavailable
from events.supervisor import Supervisor
from tests.contracts.support import Clock, event, eventually

T = TypeVar("T")

NOON = 1_700_000_000.0


class RecordingPipe:
    """A way out that keeps what it is given. While `stalled`, nothing leaves, as with a client that does not read.

    pieces: of how many messages each piece is in which they leave
    """

    direct = None

    def __init__(self) -> None:
        self.messages: list[WireMessage] = []
        self.bundles: list[Bundle] = []
        self.binary: list[bytes] = []
        self.pieces: list[int] = []
        self.held = False
        self.writes = 0
        self.stalled = False
        self.pending = 0

    def write(self, message: WireMessage) -> None:
        self.writes += 1
        self._take(message)

    def offer(self, bundle: Bundle, room: int) -> bool:
        if self.pending > room:
            return False
        self.writes += 1
        self.bundles.append(bundle)
        for message in bundle.messages:
            self._take(message)
        return True

    def hold(self) -> None:
        if not self.held:
            self.held = True
            self.pieces.append(0)

    def release(self) -> None:
        self.held = False

    def write_binary(self, data: bytes) -> None:
        self.writes += 1
        self.binary.append(data)

    def drain(self) -> None:
        """The client reads again, and all that waited leaves."""
        self.stalled = False
        self.pending = 0

    def _take(self, message: WireMessage) -> None:
        self.messages.append(message)
        if self.held:
            self.pieces[-1] += 1
        else:
            self.pieces.append(1)
        if self.stalled:
            self.pending += len(message.payload)


class Client:
    """One client and what it was told. `closed_with` is the reason for which the server put it out."""

    def __init__(self, limits: SessionLimits, dialect: Dialect = Dialect.PLAIN) -> None:
        self.pipe = RecordingPipe()
        self.closed_with = ""
        self.session = Session(
            secrets.token_hex(4), dialect, self.pipe, limits, ClientInfo("192.0.2.1", "test"), self._disconnect
        )

    @property
    def told(self) -> list[tuple[str, Any]]:
        """Every event that the client was sent: name and data."""
        return [told(message, self.session.dialect) for message in self.pipe.messages]

    def told_of(self, name: str) -> list[Any]:
        return [data for told, data in self.told if told == name]

    @property
    def live(self) -> list[int]:
        """Journal numbers of the live events, in the order of arrival."""
        return [data["offsets"]["all"] for data in self.told_of("workflow_event")]

    @property
    def replayed(self) -> list[int]:
        """Journal numbers of the last replay."""
        return [data["offsets"]["all"] for data in self.told_of("recent_events")[-1]["events"]]

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self.pipe.messages.clear()

    def _disconnect(self, reason: str) -> None:
        self.closed_with = self.closed_with or reason


def told(message: WireMessage, dialect: Dialect) -> tuple[str, Any]:
    """The name and the data of a message."""
    if dialect is Dialect.SOCKETIO:
        assert message.payload.startswith(b"42")
        name, data = orjson.loads(message.payload[2:])
    else:
        body = orjson.loads(message.payload)
        name, data = body["event"], body["data"]
    return name, data


class TestHistory:
    """A real memory history whose answers a test can hold back, refuse, or lose after the work was done.

    gate:        answers wait until it is set
    slow:        every answer takes some turns of the event loop, now more and now fewer
    down:        nothing is done, and the caller is told `Unavailable`
    lose_answer: how many appends are carried out while the caller is told `Unavailable`
    late:        how many appends are carried out only when the next one comes, the caller having been told `Unavailable`
    foreseen:    how many appends came as they had been prepared while another was under way
    """

    __test__ = False

    def __init__(self, limits: HistoryLimits) -> None:
        self.clock = Clock(NOON)
        self.kept = MemoryHistory(limits, self.clock)
        self.gate = asyncio.Event()
        self.gate.set()
        self.slow = False
        self.down = False
        self.lose_answer = 0
        self.late = 0
        self.foreseen = 0
        self._prepared: Append | None = None
        self._under_way: list[Append] = []
        self.asked: list[str] = []
        self._holds: dict[str, int] = {}
        self._kept_back: dict[str, asyncio.Event] = {}
        self._chance = random.Random(1)
        self._limits = limits

    def lose_everything(self) -> None:
        """The history is lost; another begins, with another epoch."""
        self.kept = MemoryHistory(self._limits, self.clock)

    def hold(self, name: str, count: int = 1) -> None:
        """Hold the answer of the call of this name that is the `count`th from now on, and all later answers."""
        self._holds[name] = count

    def keep_back(self, name: str) -> None:
        """Hold the answers of the calls of this name alone, until `let_go`."""
        self._kept_back[name] = asyncio.Event()

    def let_go(self, name: str) -> None:
        self._kept_back.pop(name).set()

    async def append(self, batch: Append) -> list[Entry]:
        self.foreseen += batch is self._prepared
        while self._under_way:
            await self.kept.append(self._under_way.pop())
        if self.late:
            self.late -= 1
            self._under_way.append(batch)
            raise Unavailable("no answer yet")
        written = await self._answer("append", lambda: self.kept.append(batch))
        if self.lose_answer:
            self.lose_answer -= 1
            raise Unavailable("the answer was lost")
        return written

    def prepare(self, batch: Append) -> None:
        self._prepared = batch
        self.kept.prepare(batch)

    async def cursor(self, source: str) -> str:
        return await self._answer("cursor", lambda: self.kept.cursor(source))

    async def position(self) -> Position:
        return await self._answer("position", lambda: self.kept.position())

    async def read(self, after: int, limit: int) -> JournalPage:
        return await self._answer("read", lambda: self.kept.read(after, limit))

    async def recent(self, topics: Sequence[str]) -> list[Recent]:
        return await self._answer("recent", lambda: self.kept.recent(topics))

    async def since(self, topic: str, offset: int, limit: int) -> TopicPage:
        return await self._answer("since", lambda: self.kept.since(topic, offset, limit))

    async def witness(self, position: Position) -> Position:
        return await self._answer("witness", lambda: self.kept.witness(position))

    async def executions(self, ids: Sequence[str]) -> list[Execution | None]:
        return await self._answer("executions", lambda: self.kept.executions(ids))

    async def snapshot(self, topic: str, limit: int, status: str | None = None) -> Snapshot:
        return await self._answer("snapshot", lambda: self.kept.snapshot(topic, limit, status))

    async def trim(self, now: float) -> int:
        return await self._answer("trim", lambda: self.kept.trim(now))

    async def rejected(self, limit: int, before: str = "") -> list[DeadLetter]:
        return await self._answer("rejected", lambda: self.kept.rejected(limit, before))

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        return await self._answer("dead_letter", lambda: self.kept.dead_letter(letter_id))

    async def discard(self, letter_id: str) -> bool:
        return await self._answer("discard", lambda: self.kept.discard(letter_id))

    async def fill(self) -> dict[str, Queue]:
        return await self._answer("fill", self.kept.fill)

    async def close(self) -> None:
        await self.kept.close()

    async def _answer(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Read first, answer later: what happens meanwhile is not in the answer, as with a store over a network."""
        self.asked.append(name)
        if self.down:
            raise Unavailable("the history is down")
        answer = await ask()
        if self.slow:
            await turns(self._chance.randrange(1, 12))
        self._holds[name] = self._holds.get(name, 0) - 1
        if self._holds[name] == 0:
            self.gate.clear()
        if name in self._kept_back:
            await self._kept_back[name].wait()
        await self.gate.wait()
        return answer


class TestGroup:
    """The group as bad as it may be: what is sent waits until a test delivers, loses, repeats or reorders it."""

    __test__ = False

    def __init__(self) -> None:
        self.waiting: list[Batch | Position] = []
        self.announced: list[BusGap] = []
        self.canaries: list[Canary] = []
        self.down = False

    async def send(self, batch: Batch) -> None:
        self._put(batch)

    async def heartbeat(self, position: Position) -> None:
        self._put(position)

    async def announce(self, gap: BusGap) -> None:
        self.announced.append(gap)

    async def pass_on(self, canary: Canary) -> None:
        if self.down:
            raise Unavailable("the group is down")
        self.canaries.append(canary)

    def _put(self, message: Batch | Position) -> None:
        if self.down:
            raise Unavailable("the group is down")
        self.waiting.append(message)

    def deliver(self, hub: Hub, index: int = 0, *, keep: bool = False) -> None:
        """Hand one message over; with `keep` it will come again."""
        message = self.waiting[index] if keep else self.waiting.pop(index)
        if isinstance(message, Batch):
            hub.receive(message)
        else:
            hub.receive_heartbeat(message)

    def deliver_all(self, hub: Hub) -> None:
        while self.waiting:
            self.deliver(hub)

    def lose_all(self) -> None:
        self.waiting.clear()


class Stage:
    """A hub with its background tasks, its commands, a history and a group."""

    def __init__(self, config: EventsConfig) -> None:
        self.config = config
        self.history = TestHistory(config.history)
        self.group = TestGroup()
        self.hub = Hub(self.history, config.history.recent_events)
        self.commands = CommandHandler(self.hub, config, Authority(config), self._stats)
        self.tasks = Supervisor()
        self.stats: dict[str, Any] = {"connections": {"current": 1}}
        self.stats_available = True

    def start(self) -> None:
        self.tasks.start("hub", self.hub.run)
        self.tasks.start("catch-up", self.hub.catch_up.run)

    async def publish(self, *events: Event) -> list[Entry]:
        """Put events into the history, and a batch of them on its way through the group."""
        position = await self.history.kept.position()
        written = await self.history.kept.append(Append(1, position, "test", "", events))
        await self.group.send(Batch(position.epoch, written[0].number, written))
        return written

    async def flow(self, *events: Event) -> None:
        """Publish and deliver at once."""
        await self.publish(*events)
        self.group.deliver_all(self.hub)

    async def beat(self) -> None:
        """A heartbeat reaches the hub."""
        self.hub.receive_heartbeat(await self.history.kept.position())

    async def client(self, **limits: Any) -> Client:
        """A client that is connected and greeted."""
        client = Client(replace(self.config.session, **limits))
        await self.commands.connect(client.session, {})
        client.forget()
        return client

    async def subscribe(self, client: Client, workflow: str = "w1") -> None:
        await self.commands.handle(client.session, "subscribe_workflow", {"workflow_id": workflow})

    async def settled(self) -> None:
        """Returns when the hub is where the history is and every client is live."""

        async def done() -> bool:
            await self.beat()
            return self.hub.position == await self.history.kept.position() and not len(self.hub.catch_up)

        await eventually(done)

    async def _stats(self) -> dict[str, Any]:
        if not self.stats_available:
            raise Unavailable("the registry is down")
        return self.stats


@asynccontextmanager
async def stage(**fields: Any) -> AsyncIterator[Stage]:
    """A stage whose hub knows where the history is. `fields` are those of `HistoryLimits`."""
    running = Stage(EventsConfig(history=HistoryLimits(**fields)))
    running.start()
    try:
        await until(lambda: running.hub.ready)
        yield running
    finally:
        await running.tasks.stop()


async def until(condition: Callable[[], object]) -> None:
    """Returns once the condition holds."""

    async def holds() -> bool:
        return bool(condition())

    await eventually(holds)


async def turns(count: int = 5) -> None:
    """Let whatever is ready to run do so."""
    for _ in range(count):
        await asyncio.sleep(0)


def events(count: int, workflow: str = "w1", **fields: object) -> list[Event]:
    return [event(workflow, **fields) for _ in range(count)]


def offsets(client: Client, kind: str = "workflow") -> list[int]:
    """The offsets of the live events in their topic of this kind."""
    return [data["offsets"][kind] for data in client.told_of("workflow_event")]
