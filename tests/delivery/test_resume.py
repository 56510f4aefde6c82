"""Subscribing from a place in the history, with filters, and with the state of executions."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from events import subscribe
from events.domain.event import Event, EventLimits, encode_event, parse_event
from events.fanout.folder import Folder
from events.ports import Append, BusGap
from tests.contracts.support import event
from tests.fanout.support import Client, Stage, events, stage, turns, until

RECENT = 5
JOURNAL = 40


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Stage]:
    async with stage(recent_events=RECENT, journal_events=JOURNAL) as running:
        yield running


def place(world: Stage, offset: int | None) -> dict[str, Any]:
    """What a client sends that has everything up to an offset of the topic; nothing yet when None."""
    epoch = None if offset is None else world.hub.position.epoch
    return {"workflow_id": "w1", "epoch": epoch, "offset": offset}


async def resume(world: Stage, client: Client, offset: int | None, **extra: Any) -> dict[str, Any]:
    """Resume, and return the answer."""
    return await world.commands.handle(client.session, "subscribe_workflow", place(world, offset) | extra)


def received(client: Client) -> list[int]:
    """Offsets in the topic of everything that the client got, replays first, in the order of arrival."""
    got: list[int] = []
    for name, data in client.told:
        if name == "recent_events":
            assert data["count"] == len(data["events"])
            got += [item["offsets"]["workflow"] for item in data["events"]]
        elif name == "workflow_event":
            got.append(data["offsets"]["workflow"])
    return got


def names(client: Client) -> list[str]:
    return [name for name, _ in client.told]


# -- where the client left off -------------------------------------------------------------------------------------------


async def test_a_new_client_learns_its_place(world: Stage) -> None:
    await world.flow(*events(8))
    client = await world.client()
    answer = await resume(world, client, None)
    assert answer == {
        "type": "workflow",
        "workflow_id": "w1",
        "epoch": world.hub.position.epoch,
        "offset": 8,
        "recovered": False,
    }
    assert list(answer) == ["type", "workflow_id", "epoch", "offset", "recovered"]
    assert received(client) == [4, 5, 6, 7, 8]
    assert "events_missed" not in names(client)


async def test_a_new_client_learns_its_place_in_an_empty_topic(world: Stage) -> None:
    client = await world.client()
    assert (await resume(world, client, None))["offset"] == 0
    await world.flow(event("w1"))
    assert received(client) == [1]


async def test_the_plain_answer_is_the_guides(world: Stage) -> None:
    await world.flow(*events(2))
    client = await world.client()
    await world.subscribe(client)
    assert client.told_of("subscribed") == [{"type": "workflow", "workflow_id": "w1"}]


@pytest.mark.parametrize("offset", [0, 1, 3, 4, 7, 8])
async def test_exactly_what_was_missed_then_live(world: Stage, offset: int) -> None:
    await world.flow(*events(4), *events(4, "other"), *events(4))
    client = await world.client()
    answer = await resume(world, client, offset)
    await world.flow(*events(2))
    assert answer["recovered"] is True
    assert answer["offset"] == 8
    assert received(client) == list(range(offset + 1, 11))
    assert "events_missed" not in names(client)
    assert names(client)[0] == "subscribed"


async def test_many_missed_events_come_in_several_messages(monkeypatch: pytest.MonkeyPatch, world: Stage) -> None:
    monkeypatch.setattr(subscribe, "PAGE", 7)
    await world.flow(*events(30))
    client = await world.client()
    await resume(world, client, 2)
    assert received(client) == list(range(3, 31))
    assert len(client.told_of("recent_events")) > 3
    assert client.session.sent == 28


async def test_what_no_history_holds_is_named(world: Stage) -> None:
    # The journal keeps 40, the topic's own buffer 5.
    await world.flow(*events(20))
    await world.flow(*events(38, "other"))
    await world.flow(*events(2))
    client = await world.client()
    answer = await resume(world, client, 3)
    assert answer["recovered"] is False
    assert client.told_of("events_missed") == [
        {
            "type": "workflow",
            "workflow_id": "w1",
            "from": 4,
            "to": 17,
            "reason": "history_trimmed",
            "epoch": world.hub.position.epoch,
        }
    ]
    assert received(client) == [18, 19, 20, 21, 22]


async def test_a_place_in_another_epoch_cannot_be_resumed(world: Stage) -> None:
    await world.flow(*events(8))
    client = await world.client()
    answer = await resume(world, client, 3, epoch="gone")
    assert (answer["recovered"], answer["epoch"]) == (False, world.hub.position.epoch)
    (missed,) = client.told_of("events_missed")
    assert (missed["from"], missed["to"], missed["reason"]) == (None, None, "history_lost")
    assert received(client) == [4, 5, 6, 7, 8]


async def test_a_place_ahead_of_the_history_cannot_be_resumed(world: Stage) -> None:
    await world.flow(*events(8))
    client = await world.client()
    assert (await resume(world, client, 9))["recovered"] is False
    assert client.told_of("events_missed")[0]["reason"] == "unknown_offset"


async def test_a_client_that_is_ahead_of_this_server_is_waited_for(world: Stage) -> None:
    await world.flow(*events(3))
    # Another server process has delivered these; this one has not heard of them yet.
    await world.publish(*events(9))
    client = await world.client()
    answer = await resume(world, client, 10)
    world.group.deliver_all(world.hub)
    await world.flow(*events(1))
    assert answer["recovered"] is True
    assert received(client) == [11, 12, 13]
    assert "events_missed" not in names(client)


async def test_a_client_that_knows_a_new_history_before_this_server_is_waited_for(world: Stage) -> None:
    await world.flow(*events(3))
    world.history.lose_everything()
    await world.publish(*events(4))
    client = await world.client()
    epoch = (await world.history.kept.position()).epoch
    answer = await resume(world, client, 2, epoch=epoch)
    assert (answer["recovered"], answer["epoch"]) == (True, epoch)
    assert received(client) == [3, 4]


async def test_events_that_come_while_the_past_is_read_are_not_lost(world: Stage) -> None:
    await world.flow(*events(12))
    client = await world.client()
    world.history.hold("since")
    resuming = asyncio.create_task(resume(world, client, 1))
    await until(lambda: "since" in world.history.asked)
    await world.flow(*events(10))
    world.history.gate.set()
    await resuming
    await world.flow(*events(3))
    assert received(client) == list(range(2, 26))


async def test_resuming_again_brings_nothing_twice(world: Stage) -> None:
    await world.flow(*events(8))
    client = await world.client()
    await resume(world, client, 8)
    await world.flow(*events(2))
    await resume(world, client, 10)
    await world.flow(*events(2))
    assert received(client) == [9, 10, 11, 12]


async def test_the_replay_waits_for_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch, world: Stage) -> None:
    monkeypatch.setattr(subscribe, "PAGE", 5)
    await world.flow(*events(30))
    client = await world.client(buffer_bytes=1_000)
    client.pipe.stalled = True
    resuming = asyncio.create_task(resume(world, client, 0))
    await until(lambda: client.pipe.pending)
    await turns(20)
    held = len(received(client))
    assert held < 30
    client.pipe.drain()
    await resuming
    assert received(client) == list(range(1, 31))


async def test_a_client_that_never_reads_its_replay_is_put_out(world: Stage) -> None:
    await world.flow(*events(30))
    client = await world.client(buffer_bytes=1_000, drain_deadline_s=0.05)
    client.pipe.stalled = True
    resuming = asyncio.create_task(resume(world, client, 0))
    await until(lambda: client.closed_with)
    world.hub.remove(client.session)
    await resuming
    assert "too slow" in client.closed_with
    assert client.session.topics == {}


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_client_that_comes_and_goes_gets_everything_once(data: st.DataObject) -> None:
    steps = data.draw(
        st.lists(st.one_of(st.integers(1, 7), st.sampled_from(["drop", "return"])), min_size=1, max_size=25), label="steps"
    )
    asyncio.run(_come_and_go(steps))


async def _come_and_go(steps: Sequence[int | str]) -> None:
    """Numbers are events that are published; the client drops its connection and returns in between."""
    async with stage(recent_events=RECENT, journal_events=1_000) as world:
        client: Client | None = await world.client()
        assert client is not None
        await resume(world, client, None)
        got: list[int] = []
        published = 0
        for step in [*steps, "return"]:
            if isinstance(step, int):
                await world.flow(*events(step))
                published += step
            elif step == "drop" and client is not None:
                got += received(client)
                world.hub.remove(client.session)
                client = None
            elif step == "return" and client is None:
                client = await world.client()
                assert (await resume(world, client, got[-1] if got else 0))["recovered"] is True
        assert client is not None
        assert got + received(client) == list(range(1, published + 1))


# -- options that make no sense ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "field", "code"),
    [
        ({"epoch": 5, "offset": 1}, "epoch", "invalid_field"),
        ({"epoch": "e", "offset": "1"}, "offset", "invalid_field"),
        ({"epoch": "e", "offset": -1}, "offset", "invalid_field"),
        ({"epoch": "e", "offset": True}, "offset", "invalid_field"),
        ({"epoch": "e", "offset": 1.5}, "offset", "invalid_field"),
        ({"epoch": "e"}, "offset", "missing_field"),
        ({"offset": 3}, "epoch", "missing_field"),
        ({"types": "node_failed"}, "types", "invalid_field"),
        ({"types": []}, "types", "invalid_field"),
        ({"types": [1]}, "types", "invalid_field"),
        ({"types": [""]}, "types", "invalid_field"),
        ({"snapshot": 1}, "snapshot", "invalid_field"),
    ],
)
async def test_a_wrong_option_is_named(world: Stage, options: dict[str, Any], field: str, code: str) -> None:
    client = await world.client()
    answer = await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "w1"} | options)
    assert (answer["field"], answer["code"]) == (field, code)
    assert client.session.topics == {}


# -- types ---------------------------------------------------------------------------------------------------------------


def mixed(*types: str) -> list[Event]:
    return [event("w1", type=name) for name in types]


def types_of(client: Client) -> list[str]:
    replayed = [item["type"] for data in client.told_of("recent_events") for item in data["events"]]
    return replayed + [data["type"] for data in client.told_of("workflow_event")]


async def test_only_the_types_asked_for_come(world: Stage) -> None:
    await world.flow(*mixed("node_started", "node_failed", "node_completed"))
    client, other = await world.client(), await world.client()
    await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "w1", "types": ["node_failed"]})
    await world.subscribe(other)
    await world.flow(*mixed("node_started", "node_failed", "node_completed"))
    assert types_of(client) == ["node_failed", "node_failed"]
    assert len(types_of(other)) == 6


async def test_subscribing_again_changes_the_types(world: Stage) -> None:
    client = await world.client()
    for types in (["node_failed"], ["node_started"], None):
        await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "w1", "types": types})
        await world.flow(*mixed("node_failed", "node_started"))
    assert [data["type"] for data in client.told_of("workflow_event")] == [
        "node_failed",
        "node_started",
        "node_failed",
        "node_started",
    ]


async def test_one_subscription_that_wants_an_event_is_enough(world: Stage) -> None:
    client = await world.client()
    await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "w1", "types": ["node_failed"]})
    await world.commands.handle(client.session, "subscribe_all_bots")
    await world.flow(*mixed("node_started", "node_failed"))
    assert types_of(client) == ["node_started", "node_failed"]


async def test_a_lagging_client_keeps_its_filter(world: Stage) -> None:
    client = await world.client(buffer_bytes=200)
    await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "w1", "types": ["node_failed"]})
    client.pipe.stalled = True
    for _ in range(5):
        await world.flow(*mixed("node_failed", "node_started"))
    assert client.session.lagging
    client.pipe.drain()
    await world.settled()
    assert types_of(client) == ["node_failed"] * 5


async def test_the_last_filtered_client_takes_the_topic_along(world: Stage) -> None:
    client = await world.client()
    await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "w1", "types": ["node_failed"]})
    await world.commands.handle(client.session, "unsubscribe_workflow", {"workflow_id": "w1"})
    await world.flow(*mixed("node_failed"))
    assert types_of(client) == []
    assert world.hub.offset("workflow:w1") == 0


# -- gaps of the bus -----------------------------------------------------------------------------------------------------


async def test_subscribers_are_told_what_the_bus_lost(world: Stage) -> None:
    subscriber, bystander = await world.client(), await world.client()
    await world.subscribe(subscriber)
    subscriber.forget()
    world.hub.receive_gap(BusGap("stream", "trimmed", 7, 1_700_000_000.0, None))
    assert subscriber.told == [
        (
            "events_missed",
            {
                "type": "bus",
                "source": "stream",
                "reason": "trimmed",
                "count": 7,
                "since": "2023-11-14T22:13:20.000Z",
                "until": None,
            },
        )
    ]
    assert bystander.told == []


# -- executions ----------------------------------------------------------------------------------------------------------


def run_event(kind: str, **fields: Any) -> Event:
    common = {"type": kind, "execution_id": "x1", "workflow_id": "w1", "timestamp": "2026-01-24T10:00:00.000Z"}
    return parse_event(encode_event(common | fields), EventLimits())


async def test_an_execution_snapshot_comes_between_the_answer_and_the_replay(world: Stage) -> None:
    happened = [run_event("execution_started", node_count=2), run_event("node_started", node_id="a")]
    position = await world.history.kept.position()
    states = await Folder(world.history.kept).fold(happened, position)
    await world.history.kept.append(Append(1, position, "test", "", happened, (), states))
    await world.beat()
    await until(lambda: world.hub.position.number == 2)
    client = await world.client()
    await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "w1", "snapshot": True})
    assert names(client) == ["subscribed", "execution_snapshot", "recent_events"]
    (snapshot,) = client.told_of("execution_snapshot")
    assert list(snapshot) == ["type", "workflow_id", "epoch", "offset", "executions"]
    assert snapshot["offset"] == 2
    assert [(state["execution_id"], state["status"]) for state in snapshot["executions"]] == [("x1", "running")]
