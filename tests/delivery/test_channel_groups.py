"""The channel layer as the group: the same round trip over both layers, and what happens to members that are forgotten."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.asyncio import Redis
from structlog.testing import capture_logs

from events import channel_groups
from events.channel_groups import MAX_WAITING, ChannelGroupInbox, ChannelGroupSender, HubMember
from events.domain.entry import Entry, Position, parse_entry, stamp
from events.group_line import GroupLine, line_layer
from events.group_messages import MAX_JOINED_BYTES, MAX_MESSAGE_BYTES, _split, batch_messages, hand_over, heartbeat_message
from events.ports import Batch, BusGap, Canary, Queue, Trace, Unavailable
from tests.contracts.support import event
from tests.fanout.support import until
from tests.redis_server import RedisServer, free_port, published

MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1_000}}


class Recorder:
    """A hub that only notes what it is handed."""

    def __init__(self) -> None:
        self.heard: list[Batch | Position | BusGap | Canary] = []

    def receive(self, batch: Batch) -> None:
        self.heard.append(batch)

    def receive_heartbeat(self, position: Position) -> None:
        self.heard.append(position)

    def receive_gap(self, gap: BusGap) -> None:
        self.heard.append(gap)

    def receive_canary(self, canary: Canary) -> None:
        self.heard.append(canary)

    @property
    def batches(self) -> list[Batch]:
        return [heard for heard in self.heard if isinstance(heard, Batch)]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def group() -> str:
    return f"group-{secrets.token_hex(4)}"


def redis_layer(port: int) -> dict[str, Any]:
    return {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"prefix": secrets.token_hex(4), "hosts": [{"address": f"redis://127.0.0.1:{port}/0"}]},
    }


@asynccontextmanager
async def layer(settings: Any, config: dict[str, Any]) -> AsyncIterator[None]:
    settings.CHANNEL_LAYERS = {"default": config}
    channel_layers.backends = {}
    yield
    await get_channel_layer().flush()
    channel_layers.backends = {}


@pytest_asyncio.fixture(params=["memory", "redis"])
async def any_layer(request: pytest.FixtureRequest, settings: Any, redis_server: RedisServer) -> AsyncIterator[None]:
    async with layer(settings, MEMORY if request.param == "memory" else redis_layer(redis_server.port)):
        yield


@pytest_asyncio.fixture
async def memory_layer(settings: Any) -> AsyncIterator[None]:
    async with layer(settings, MEMORY):
        yield


@asynccontextmanager
async def joined(group: str, *recorders: Recorder) -> AsyncIterator[None]:
    """Members of the group, all of which have heard something."""
    tasks = [asyncio.create_task(ChannelGroupInbox(group).run(recorder)) for recorder in recorders]
    sender = ChannelGroupSender(group)
    try:
        said = 0
        while not all(recorder.heard for recorder in recorders):
            said += 1
            await sender.heartbeat(Position("hello", said))
            await asyncio.sleep(0.01)
        await until(lambda: all(recorder.heard[-1] == Position("hello", said) for recorder in recorders))
        for recorder in recorders:
            recorder.heard.clear()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def entries(first: int, last: int, padding: int = 0) -> list[Entry]:
    return [
        stamp(event("w:ü", bot_id="b", text="é" * padding), Position("e", number), (number, number, 1))
        for number in range(first, last + 1)
    ]


@pytest.mark.usefixtures("any_layer")
async def test_a_batch_arrives_at_every_member_as_it_was_sent(group: str) -> None:
    one, two = Recorder(), Recorder()
    batch = Batch("e", 5, entries(5, 9))
    async with joined(group, one, two):
        await ChannelGroupSender(group).send(batch)
        await until(lambda: one.heard and two.heard)
    assert one.heard == two.heard == [batch]


def test_events_of_the_same_topics_share_the_names_of_these() -> None:
    recorder = Recorder()
    for first in (1, 3):
        hand_over(batch_messages(Batch("e", first, entries(first, first + 1))), recorder)
    received = [entry for batch in recorder.batches for entry in batch.entries] + [parse_entry(entries(5, 5)[0].document)]
    assert len({entry.topics for entry in received}) == 1
    assert len({id(entry.topics) for entry in received}) == 1


@pytest.mark.usefixtures("any_layer")
async def test_heartbeats_gaps_and_canaries_arrive_as_they_were_sent(group: str) -> None:
    recorder = Recorder()
    gaps = [BusGap("pubsub", "deaf", None, 1.5, 2.5), BusGap("stream", "trimmed", 7)]
    async with joined(group, recorder):
        sender = ChannelGroupSender(group)
        await sender.heartbeat(Position("e", 2**40))
        for gap in gaps:
            await sender.announce(gap)
        await sender.pass_on(Canary(3.5, 4.5))
        await until(lambda: len(recorder.heard) == 4)
    assert recorder.heard == [Position("e", 2**40), *gaps, Canary(3.5, 4.5)]


@pytest.mark.usefixtures("any_layer")
async def test_a_large_batch_is_sent_in_parts_that_join_up(group: str) -> None:
    recorder = Recorder()
    sent = entries(1, 40, padding=20_000)
    async with joined(group, recorder):
        await ChannelGroupSender(group).send(Batch("e", 1, sent))
        await until(lambda: sum(len(batch.entries) for batch in recorder.batches) == 40)
    assert len(recorder.batches) > 1
    assert [entry for batch in recorder.batches for entry in batch.entries] == sent
    for batch in recorder.batches:
        assert batch.first == batch.entries[0].number
        assert sum(len(entry.document) for entry in batch.entries) <= MAX_JOINED_BYTES + MAX_MESSAGE_BYTES


async def test_what_is_sealed_is_what_the_redis_layer_publishes(settings: Any, redis_server: RedisServer, group: str) -> None:
    config = redis_layer(redis_server.port)
    [host] = config["CONFIG"]["hosts"]
    batch = Batch("e", 1, entries(1, 40, padding=20_000), 1.5, 2.5)
    async with layer(settings, config), published(redis_server.port, f"{config['CONFIG']['prefix']}*") as heard:
        sender = ChannelGroupSender(group, host["address"])
        await sender.send(batch)
        sealed = sender.seal(batch)
    assert sealed is not None
    assert len(sealed.messages) > 1
    assert heard == [(sealed.channel, message) for message in sealed.messages]


@pytest.mark.usefixtures("any_layer")
async def test_what_the_history_has_announced_is_not_sent_again(group: str) -> None:
    recorder = Recorder()
    batches = [Batch("e", first, entries(first, first + 1)) for first in (1, 3)]
    async with joined(group, recorder):
        sender = ChannelGroupSender(group)
        sender.announced(Position("e", 2))
        for batch in batches:
            await sender.send(batch)
        await until(lambda: recorder.heard)
    assert recorder.heard == batches[1:]


@pytest.mark.parametrize("case", ["memory", "core", "elsewhere", "not asked"])
async def test_nothing_is_sealed_for_a_layer_that_the_history_does_not_share(
    settings: Any, redis_server: RedisServer, group: str, case: str
) -> None:
    config = MEMORY if case == "memory" else redis_layer(redis_server.port)
    url = {"elsewhere": "redis://127.0.0.1:1/0", "not asked": ""}.get(case, f"redis://127.0.0.1:{redis_server.port}/0")
    if case == "core":
        config["BACKEND"] = "channels_redis.core.RedisChannelLayer"
    async with layer(settings, config):
        assert ChannelGroupSender(group, url).seal(Batch("e", 1, entries(1, 1))) is None


async def heard_at_once(
    group: str, *sent: Batch | Position, queue: Queue | None = None
) -> list[Batch | Position | BusGap | Canary]:
    """What a hub hears of messages that all wait for it when it takes the first."""
    layer, recorder, sender = get_channel_layer(), Recorder(), ChannelGroupSender(group)
    member = HubMember(layer, recorder, queue or Queue(MAX_WAITING))
    await member.enter()
    await layer.group_add(group, member.channel)
    for message in sent:
        await (sender.send(message) if isinstance(message, Batch) else sender.heartbeat(message))
    await until(lambda: layer.channels[member.channel].qsize() == len(sent))
    await member.take()
    return recorder.heard


@pytest.mark.usefixtures("any_layer")
async def test_batches_that_wait_are_taken_as_one(group: str) -> None:
    parts = [Batch("e", first, entries(first, first + 1)) for first in (1, 3, 5)]
    assert await heard_at_once(group, *parts) == [Batch("e", 1, entries(1, 6))]


@pytest.mark.usefixtures("any_layer")
async def test_only_batches_that_join_up_are_joined(group: str) -> None:
    first, second, hole, other = (
        Batch(epoch, number, entries(number, number)) for epoch, number in (("e", 1), ("e", 2), ("e", 4), ("f", 5))
    )
    joined_up = Batch("e", 1, entries(1, 2))
    assert await heard_at_once(group, first, second, hole, other) == [joined_up, hole, other]


@pytest.mark.usefixtures("any_layer")
async def test_what_waits_between_batches_keeps_its_place(group: str) -> None:
    first, second = (Batch("e", number, entries(number, number)) for number in (1, 2))
    assert await heard_at_once(group, first, Position("e", 1), second) == [first, Position("e", 1), second]


@pytest.mark.usefixtures("any_layer")
async def test_what_waits_beyond_the_cap_is_dropped(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_groups, "MAX_WAITING", 2)
    parts = [Batch("e", number, entries(number, number)) for number in range(1, 5)]
    queue = Queue(2)
    assert await heard_at_once(group, *parts, queue=queue) == parts[:1]
    assert (queue.waiting, queue.dropped) == (3, 3)


@pytest.mark.usefixtures("any_layer")
async def test_traces_stay_with_their_events(group: str) -> None:
    traces = [Trace(number, f"00-{number:032x}-{number:016x}-01", 1.5) for number in (1, 2, 3)]
    first = Batch("e", 1, entries(1, 2), traces=(traces[0], traces[1]))
    second = Batch("e", 3, entries(3, 3), traces=(traces[2],))
    (joined,) = await heard_at_once(group, first, second)
    assert isinstance(joined, Batch)
    assert joined.traces == tuple(traces)
    large = Batch("e", 1, [entry._replace(document=b"x" * MAX_MESSAGE_BYTES) for entry in entries(1, 3)], traces=tuple(traces))
    assert [part.traces for part in _split(large)] == [(trace,) for trace in traces]


@pytest.mark.usefixtures("memory_layer")
async def test_an_event_larger_than_a_part_goes_alone(group: str) -> None:
    recorder = Recorder()
    sent = [*entries(1, 1), *entries(2, 2, padding=MAX_MESSAGE_BYTES * 3 // 5), *entries(3, 3)]
    async with joined(group, recorder):
        await ChannelGroupSender(group).send(Batch("e", 1, sent))
        await until(lambda: sum(len(batch.entries) for batch in recorder.batches) == 3)
    assert [batch.first for batch in recorder.batches] == [1, 2, 3]


@pytest.mark.usefixtures("memory_layer")
async def test_a_member_that_the_layer_forgot_joins_again(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_groups, "REJOIN_S", 0.02)
    recorder = Recorder()
    async with joined(group, recorder):
        members = get_channel_layer().groups
        members.clear()
        await until(lambda: members.get(group))
        await ChannelGroupSender(group).heartbeat(Position("e", 1))
        await until(lambda: recorder.heard)


async def test_a_restarted_redis_is_heard_again(settings: Any, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_groups, "REJOIN_S", 0.05)
    recorder = Recorder()
    with RedisServer() as server:
        async with layer(settings, redis_layer(server.port)), joined(group, recorder):
            sender = ChannelGroupSender(group)
            server.restart()
            while not recorder.heard:
                try:
                    await sender.heartbeat(Position("e", 1))
                except Unavailable:
                    pass
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def redis(settings: Any, redis_server: RedisServer) -> AsyncIterator[Redis]:
    """The Redis of the pub/sub layer that is in use."""
    async with layer(settings, redis_layer(redis_server.port)), Redis(port=redis_server.port) as client:
        yield client


async def subscribers(redis: Redis) -> set[str]:
    return {client["id"] for client in await redis.client_list("pubsub")}


@pytest.mark.usefixtures("redis")
async def test_the_pubsub_layers_group_is_read_from_redis_without_the_layers_queue(group: str) -> None:
    recorder = Recorder()
    async with joined(group, recorder):
        layer = get_channel_layer()
        assert (dict(layer.channels), dict(layer.groups)) == ({}, {})
        await ChannelGroupSender(group).heartbeat(Position("e", 1))
        await until(lambda: recorder.heard)


def test_any_other_layer_is_asked_for_its_messages() -> None:
    class Derived(RedisPubSubChannelLayer):
        pass

    assert [line_layer(other) for other in (InMemoryChannelLayer(), RedisChannelLayer(), Derived())] == [None] * 3


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_group_is_heard_on_both_event_loops(run: Callable[..., None], group: str, redis_server: RedisServer) -> None:
    async def hear() -> None:
        layer, recorder = RedisPubSubChannelLayer(hosts=[f"redis://127.0.0.1:{redis_server.port}/0"]), Recorder()
        task = asyncio.create_task(GroupLine(layer, recorder, Queue(MAX_WAITING)).stay(group))
        try:
            while not recorder.heard:
                await layer.group_send(group, heartbeat_message(Position("e", 1)))
                await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await layer.flush()

    run(hear())


async def test_messages_that_come_in_one_read_are_taken_as_one_also_when_the_last_is_not_whole(
    group: str, redis: Redis
) -> None:
    recorder, queue = Recorder(), Queue(MAX_WAITING)
    layer = get_channel_layer()
    line = GroupLine(layer, recorder, queue)
    said = b"".join(
        b"*3\r\n$7\r\nmessage\r\n$5\r\ngroup\r\n$%d\r\n%b\r\n" % (len(data), data)
        for number in (1, 2, 3)
        for data in map(layer.serialize, batch_messages(Batch("e", number, entries(number, number))))
    )
    line.data_received(said[:-1])
    assert recorder.heard == [Batch("e", 1, entries(1, 2))]
    assert queue.waiting == 1
    line.data_received(said[-1:])
    assert recorder.heard[1:] == [Batch("e", 3, entries(3, 3))]


@pytest.mark.parametrize("keys", [None, ["a key of the cluster"]], ids=["plain", "encrypted"])
async def test_messages_are_read_as_the_layer_has_written_them(keys: list[str] | None) -> None:
    layer = RedisPubSubChannelLayer(symmetric_encryption_keys=keys)
    recorder = Recorder()
    data = layer.serialize(batch_messages(Batch("e", 1, entries(1, 3)))[0])
    GroupLine(layer, recorder, Queue(MAX_WAITING)).data_received(
        b"*3\r\n$7\r\nmessage\r\n$5\r\ngroup\r\n$%d\r\n%b\r\n" % (len(data), data)
    )
    assert recorder.heard == [Batch("e", 1, entries(1, 3))]


async def test_a_connection_that_redis_ends_is_made_anew(group: str, redis: Redis) -> None:
    recorder = Recorder()
    async with joined(group, recorder):
        before = await subscribers(redis)
        with capture_logs() as logs:
            await redis.client_kill_filter(_type="pubsub")
            while not recorder.heard:
                await ChannelGroupSender(group).heartbeat(Position("e", 1))
                await asyncio.sleep(0.01)
        assert not before & await subscribers(redis)
    assert [entry["event"] for entry in logs] == ["group_lost"]


async def test_a_silent_connection_is_made_anew(group: str, redis: Redis) -> None:
    task = asyncio.create_task(ChannelGroupInbox(group, silence_s=0.1).run(Recorder()))
    seen: set[str] = set()
    try:
        while len(seen) < 3:
            seen |= await subscribers(redis)
            assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not await subscribers(redis)


async def test_a_redis_that_does_not_let_us_subscribe_is_said_to_refuse(group: str, redis_server: RedisServer) -> None:
    async with Redis(port=redis_server.port) as client:
        await client.acl_setuser("mute", enabled=True, passwords=["+secret"], categories=["+@all"], reset_channels=True)
    config = {"hosts": [f"redis://mute:secret@127.0.0.1:{redis_server.port}/0"]}
    with pytest.raises(Unavailable, match=r"refuses to serve: .*channel"):
        await GroupLine(RedisPubSubChannelLayer(**config), Recorder(), Queue(MAX_WAITING)).stay(group)


async def test_a_redis_that_is_away_is_said_to_be_so_to_who_listens(group: str) -> None:
    layer = RedisPubSubChannelLayer(hosts=[f"redis://127.0.0.1:{free_port()}/0"])
    with pytest.raises(Unavailable, match="cannot be reached"):
        await GroupLine(layer, Recorder(), Queue(MAX_WAITING)).stay(group)


async def test_a_layer_that_is_away_is_said_to_be_so(settings: Any, group: str) -> None:
    async with layer(settings, redis_layer(free_port())):
        with pytest.raises(Unavailable, match="channel layer"):
            await ChannelGroupSender(group).send(Batch("e", 1, entries(1, 1)))


@pytest.mark.usefixtures("any_layer")
async def test_a_receiver_that_fails_ends_the_inbox_with_its_error_and_leaves_nothing_in_the_layer(group: str) -> None:
    class Broken(Recorder):
        def receive(self, batch: Batch) -> None:
            raise ValueError("broken")

    task = asyncio.create_task(ChannelGroupInbox(group).run(Broken()))
    sender = ChannelGroupSender(group)
    while not task.done():
        await sender.send(Batch("e", 1, entries(1, 1)))
        await asyncio.sleep(0.01)
    with pytest.raises(ValueError, match="broken"):
        await task
    layer, recorder = get_channel_layer(), Recorder()
    assert (dict(layer.channels), dict(layer.groups)) == ({}, {})
    # Its successor hears as if nothing had been.
    async with joined(group, recorder):
        await sender.send(Batch("e", 2, entries(2, 2)))
        await until(lambda: recorder.batches)
