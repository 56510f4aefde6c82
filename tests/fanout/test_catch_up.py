"""Clients that read slowly: not buffered for, caught up exactly, told what is gone, and cut off when they stop reading."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from events.fanout import catch_up as catch_up_module
from events.fanout import hub as hub_module
from events.fanout.session import REPLY_ALLOWANCE
from tests.contracts.support import event
from tests.fanout.support import Client, Stage, events, offsets, stage, turns, until

BUFFER = 2_000


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up_module, "INTERVAL_S", 0.001)
    monkeypatch.setattr(hub_module, "RETRY_S", 0.005)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Stage]:
    async with stage() as running:
        yield running


async def slow_client(world: Stage, workflow: str = "w1", **limits: Any) -> Client:
    """A client whose connection takes nothing, and which has more unsent than it may have."""
    client = await world.client(buffer_bytes=BUFFER, **limits)
    await world.subscribe(client, workflow)
    client.pipe.stalled = True
    while not client.session.lagging:
        await world.flow(event(workflow))
    return client


async def test_a_client_with_too_much_unsent_is_not_buffered_for(world: Stage) -> None:
    slow, quick = await slow_client(world), await world.client()
    await world.subscribe(quick)
    unsent, count = slow.pipe.pending, len(slow.live)
    await world.flow(*events(500))
    await turns(20)
    assert slow.pipe.pending == unsent <= BUFFER + 1_000
    assert len(slow.live) == count
    assert len(quick.live) == 500
    assert world.hub.counters.lagged == 1
    assert slow.session.row()["lagging"] is True


async def test_a_client_that_reads_again_gets_everything_once_and_goes_live(world: Stage) -> None:
    slow = await slow_client(world)
    await world.flow(*events(300))
    while slow.session.lagging:
        slow.pipe.drain()
        slow.pipe.stalled = True
        await asyncio.sleep(0)
    slow.pipe.drain()
    await world.flow(*events(2))
    assert slow.live == list(range(1, world.hub.position.number + 1))
    assert slow.told_of("events_missed") == []
    assert world.hub.counters.sent == slow.session.sent == len(slow.live)


async def test_a_client_is_caught_up_only_as_fast_as_it_reads(world: Stage) -> None:
    slow = await slow_client(world)
    await world.flow(*events(300))
    slow.pipe.drain()
    slow.pipe.stalled = True
    await until(lambda: slow.pipe.pending)
    await turns(50)
    # One page of the journal is written without a look at the buffer.
    assert slow.pipe.pending < 400 * catch_up_module.PAGE


async def test_catching_up_keeps_to_the_topics_of_the_client(world: Stage) -> None:
    slow = await slow_client(world)
    await world.flow(*events(5, "other"), *events(5), *events(5, "other"))
    slow.pipe.drain()
    await until(lambda: not slow.session.lagging)
    assert offsets(slow) == list(range(1, len(slow.live) + 1))
    assert len(slow.live) == world.hub.position.number - 10


async def test_a_topic_joined_while_lagging_starts_there(world: Stage) -> None:
    await world.flow(*events(2, "w2"))
    slow = await slow_client(world)
    await world.flow(*events(3, "w2"))
    await world.subscribe(slow, "w2")
    await world.flow(*events(2, "w2"), *events(2))
    slow.pipe.drain()
    await until(lambda: not slow.session.lagging)
    assert [data["offsets"]["workflow"] for data in slow.told_of("recent_events")[-1]["events"]] == [1, 2, 3, 4, 5]
    second = [data["offsets"]["workflow"] for data in slow.told_of("workflow_event") if data["workflow_id"] == "w2"]
    assert second == [6, 7]
    assert slow.live == sorted(set(slow.live))
    assert slow.told_of("events_missed") == []


async def test_what_the_hub_has_not_heard_of_yet_is_left_to_come_live(world: Stage) -> None:
    slow = await slow_client(world)
    await world.publish(*events(3))
    slow.pipe.drain()
    await until(lambda: not slow.session.lagging)
    world.group.deliver_all(world.hub)
    assert slow.live == list(range(1, world.hub.position.number + 1))


async def test_a_topic_left_while_lagging_is_not_caught_up(world: Stage) -> None:
    slow = await slow_client(world)
    count = len(slow.live)
    await world.flow(*events(5))
    await world.commands.handle(slow.session, "unsubscribe_workflow", {"workflow_id": "w1"})
    slow.pipe.drain()
    await until(lambda: not slow.session.lagging)
    assert len(slow.live) == count
    assert slow.told_of("events_missed") == []


async def test_a_client_passed_by_the_history_is_told_exactly_what_it_missed() -> None:
    async with stage(journal_events=10) as world:
        slow = await slow_client(world)
        had = len(slow.live)
        await world.flow(*events(50))
        slow.pipe.drain()
        await until(lambda: not slow.session.lagging)
        last = had + 51
        assert offsets(slow) == [*range(1, had + 1), *range(last - 9, last + 1)]
        missed = slow.told_of("events_missed")
        assert [(told["from"], told["to"], told["reason"]) for told in missed] == [(had + 1, last - 10, "client_too_slow")]
        names = [name for name, _ in slow.told]
        assert names.index("events_missed") == names.index("workflow_event") + had


async def test_each_topic_is_told_what_is_missing_even_when_all_of_it_is() -> None:
    async with stage(journal_events=10) as world:
        slow = await slow_client(world)
        await world.subscribe(slow, "w2")
        had = len(slow.live)
        await world.flow(*events(3, "w2"), *events(30, "other"))
        slow.pipe.drain()
        await until(lambda: not slow.session.lagging)
        told = {data["workflow_id"]: (data["from"], data["to"]) for data in slow.told_of("events_missed")}
        assert told == {"w1": (had + 1, had + 1), "w2": (1, 3)}


async def test_an_event_in_the_batch_with_which_the_client_fell_behind_is_not_forgotten() -> None:
    async with stage(journal_events=10) as world:
        slow = await world.client(buffer_bytes=BUFFER)
        await world.subscribe(slow, "w1")
        await world.subscribe(slow, "w2")
        slow.pipe.stalled = True
        slow.pipe.pending = BUFFER + 1
        await world.flow(event("w1"), event("w2"), event("w1"))
        await world.flow(*events(30, "other"))
        await world.flow(event("w2"))
        slow.pipe.drain()
        await until(lambda: not slow.session.lagging)
        told = {data["workflow_id"]: (data["from"], data["to"]) for data in slow.told_of("events_missed")}
        assert told == {"w1": (1, 2), "w2": (1, 1)}
        assert offsets(slow) == [2]


async def test_a_journal_that_starts_beyond_the_hub_does_not_make_catching_up_spin() -> None:
    async with stage(journal_events=5) as world:
        slow = await slow_client(world)
        had = len(slow.live)
        await world.publish(*events(20, "other"))
        world.group.lose_all()
        slow.pipe.drain()
        await until(lambda: not slow.session.lagging)
        await world.settled()
        assert [(told["from"], told["to"]) for told in slow.told_of("events_missed")] == [(had + 1, had + 1)]


async def test_an_outage_of_the_history_only_delays_catching_up(world: Stage) -> None:
    slow = await slow_client(world)
    await world.flow(*events(5))
    world.history.down = True
    slow.pipe.drain()
    await until(lambda: world.history.asked.count("read") > 2)
    assert slow.session.lagging
    world.history.down = False
    await until(lambda: not slow.session.lagging)
    assert slow.live == list(range(1, world.hub.position.number + 1))


async def test_a_lost_history_frees_a_lagging_client(world: Stage) -> None:
    slow = await slow_client(world)
    slow.pipe.drain()
    slow.forget()
    world.history.lose_everything()
    await world.publish(*events(3))
    await world.beat()
    await until(lambda: len(slow.live) == 3)
    assert slow.told[0][1]["reason"] == "history_lost"
    assert slow.live == [1, 2, 3]


async def test_a_client_that_takes_nothing_is_cut_off_and_the_others_are_not(world: Stage) -> None:
    slow, quick = await slow_client(world, drain_deadline_s=0.05), await world.client()
    await world.subscribe(quick)
    await until(lambda: slow.closed_with)
    assert slow.closed_with == "client too slow: took nothing for 0.05 s"
    await world.commands.disconnect(slow.session, slow.closed_with)
    assert len(world.hub.catch_up) == 0
    await world.flow(*events(3))
    assert len(quick.live) == 3
    assert quick.closed_with == ""


async def test_a_client_that_takes_a_little_now_and_then_is_not_cut_off(world: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    now = 1_000.0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return now

    async def looked() -> None:
        before = looks
        await until(lambda: looks > before + 1)

    monkeypatch.setattr(catch_up_module, "time", SimpleNamespace(monotonic=clock))
    slow = await slow_client(world, drain_deadline_s=10)
    slow.pipe.pending = 1_000_000
    for _ in range(3):
        slow.pipe.pending -= 1
        now += 9
        await looked()
    assert slow.closed_with == ""
    now += 11
    await until(lambda: slow.closed_with)


async def test_a_lagging_client_whose_connection_ends_is_forgotten(world: Stage) -> None:
    slow = await slow_client(world)
    await world.commands.disconnect(slow.session, "gone")
    assert len(world.hub.catch_up) == 0
    assert world.hub._topics == {}
    count = len(slow.live)
    slow.pipe.drain()
    await turns(20)
    assert len(slow.live) == count


async def test_a_client_that_asks_without_reading_is_cut_off(world: Stage) -> None:
    client = await world.client(buffer_bytes=BUFFER)
    client.pipe.stalled = True
    for _ in range(1_000):
        await world.commands.handle(client.session, "no_such_command")
        if client.closed_with:
            break
    assert client.closed_with == "client does not read the answers to its commands"
    assert client.pipe.pending < REPLY_ALLOWANCE * BUFFER + 1_000


async def test_nothing_is_sent_to_a_closed_session(world: Stage) -> None:
    client = await world.client()
    await world.commands.disconnect(client.session, "gone")
    client.session.emit("connected", {})
    assert client.told == []
