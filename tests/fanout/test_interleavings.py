"""Any order of publishing, loss, repetition, reordering, joining, leaving, stalling and slow reads gives every client a
complete stream: replay and live, per topic without a hole, and no event twice."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.domain.topics import ALL, kind_of, topic_name
from events.fanout import catch_up, hub
from tests.contracts.support import event
from tests.fanout.support import Client, Stage, stage, turns

KEPT = 4
CLIENTS = 3
TOPICS = ("workflow:a", "workflow:b", "bot:x", ALL)
EVENTS = ({"workflow": "a"}, {"workflow": "b"}, {"workflow": "a", "bot_id": "x"}, {"workflow": "b", "bot_id": "x"})

number = st.integers(0, 9)
who = st.integers(0, CLIENTS - 1)
topic = st.sampled_from(TOPICS)
step = st.one_of(
    st.tuples(st.just("publish"), st.lists(st.sampled_from(EVENTS), min_size=1, max_size=6)),
    st.tuples(st.just("deliver"), number),
    st.tuples(st.just("repeat"), number),
    st.tuples(st.just("lose"), number),
    st.tuples(st.just("join"), who, topic),
    st.tuples(st.just("leave"), who, topic),
    st.tuples(st.just("stall"), who),
    st.tuples(st.just("drain"), who),
    st.tuples(st.just("hold")),
    st.tuples(st.just("release")),
    st.tuples(st.just("beat")),
    st.tuples(st.just("turn"), st.integers(1, 4)),
)


@dataclass
class Visit:
    """One subscription: how many events the topic had, and where the hub was, when it began."""

    topic: str
    published: int = 0
    joined: int = 0
    again: bool = False


@dataclass
class Reader:
    """A client that subscribes and unsubscribes one command after the other, as a connection does."""

    client: Client
    visits: list[Visit] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Run:
    """One sequence of steps."""

    world: Stage
    readers: list[Reader]
    published: Counter[str] = field(default_factory=Counter)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def take(self, name: str, *args: Any) -> None:
        await getattr(self, name)(*args)
        await asyncio.sleep(0)

    async def publish(self, fields: list[dict[str, str]]) -> None:
        written = await self.world.publish(*(event(**given) for given in fields))
        self.published.update(name for entry in written for name in entry.topics)

    async def deliver(self, index: int, keep: bool = False) -> None:
        waiting = self.world.group.waiting
        if waiting:
            self.world.group.deliver(self.world.hub, index % len(waiting), keep=keep)

    async def repeat(self, index: int) -> None:
        await self.deliver(index, keep=True)

    async def lose(self, index: int) -> None:
        waiting = self.world.group.waiting
        if waiting:
            waiting.pop(index % len(waiting))

    async def join(self, who: int, topic: str) -> None:
        self.tasks.append(asyncio.create_task(self._join(self.readers[who], topic)))

    async def leave(self, who: int, topic: str) -> None:
        self.tasks.append(asyncio.create_task(self._leave(self.readers[who], topic)))

    async def stall(self, who: int) -> None:
        self.readers[who].client.pipe.stalled = True

    async def drain(self, who: int) -> None:
        self.readers[who].client.pipe.drain()

    async def hold(self) -> None:
        self.world.history.gate.clear()

    async def release(self) -> None:
        self.world.history.gate.set()

    async def beat(self) -> None:
        await self.world.beat()

    async def turn(self, count: int) -> None:
        await turns(count)

    async def end(self) -> None:
        """Everything that was held up goes on, and the relay beats."""
        self.world.history.gate.set()
        await asyncio.gather(*self.tasks)
        for reader in self.readers:
            reader.client.pipe.drain()
        await self.world.settled()

    async def _join(self, reader: Reader, topic: str) -> None:
        session = reader.client.session
        async with reader.turn:
            visit = Visit(topic, again=topic in session.topics)
            reader.visits.append(visit)
            await self.world.commands.handle(session, *command("subscribe", topic))
            visit.joined, visit.published = session.topics[topic].joined, self.published[topic]

    async def _leave(self, reader: Reader, topic: str) -> None:
        async with reader.turn:
            await self.world.commands.handle(reader.client.session, *command("unsubscribe", topic))


def command(verb: str, topic: str) -> tuple[str, dict[str, str]]:
    kind, _, identifier = topic.partition(":")
    return (f"{verb}_all_bots", {}) if topic == ALL else (f"{verb}_{kind}", {f"{kind}_id": identifier})


def topic_of(data: dict[str, Any]) -> str:
    kind = data["type"]
    return ALL if kind == "all_bots" else topic_name(kind, data[f"{kind}_id"])


@dataclass
class Stream:
    """What one client should see of one topic."""

    visit: Visit
    next: int | None = None

    def see(self, offset: int) -> None:
        if self.next is None:
            # The replay reaches back over the last events that there were.
            assert offset <= max(1, self.visit.published - KEPT + 1)
            self.next = offset
        assert offset == self.next
        self.next += 1


def check(reader: Reader, published: Counter[str]) -> None:
    streams: dict[str, Stream] = {}
    visits = iter(reader.visits)
    replaying: Stream | None = None
    live = 0
    for name, data in reader.client.told:
        if name == "subscribed":
            visit = next(visits)
            assert topic_of(data) == visit.topic
            replaying = None if visit.again else Stream(visit)
            if replaying is not None:
                streams[visit.topic] = replaying
        elif name == "recent_events":
            if replaying is not None:
                for each in data["events"]:
                    replaying.see(each["offsets"][kind_of(replaying.visit.topic)])
        elif name == "unsubscribed":
            streams.pop(topic_of(data), None)
        else:
            assert name == "workflow_event"
            number = data["offsets"]["all"]
            assert number > live
            live = number
            due = [stream for stream in streams.values() if wants(stream.visit, data, number)]
            assert due
            for stream in due:
                stream.see(data["offsets"][kind_of(stream.visit.topic)])
    assert set(streams) == set(reader.client.session.topics)
    for topic, stream in streams.items():
        assert (stream.next or 1) - 1 == published[topic]


def wants(visit: Visit, data: dict[str, Any], number: int) -> bool:
    kind, _, identifier = visit.topic.partition(":")
    return number > visit.joined and (kind == ALL or data.get(f"{kind}_id") == identifier)


async def play(steps: list[tuple[Any, ...]]) -> None:
    async with stage(recent_events=KEPT) as world:
        run = Run(world, [Reader(await world.client(buffer_bytes=600)) for _ in range(CLIENTS)])
        for each in steps:
            await run.take(*each)
        await run.end()
        for reader in run.readers:
            check(reader, run.published)


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "INTERVAL_S", 0.0)
    monkeypatch.setattr(catch_up, "PAGE", 3)
    monkeypatch.setattr(hub, "PAGE", 3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(step, min_size=5, max_size=60))
def test_every_stream_is_complete_and_in_order(steps: list[tuple[Any, ...]]) -> None:
    asyncio.run(play(steps))
