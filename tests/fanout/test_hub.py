"""The hub: replay and live make one complete stream, whatever the group does."""

import asyncio
import time

import pytest

from events.conf import EventsConfig
from events.fanout import hub as hub_module
from events.fanout.latency import buckets
from events.ports import Batch
from tests.contracts.support import event, waits_skipped
from tests.fanout.support import Stage, events, offsets, stage, turns, until


async def test_a_client_before_during_and_after_a_run_gets_all_of_it_once() -> None:
    async with stage() as world:
        before, during, after = [await world.client() for _ in range(3)]
        await world.subscribe(before)
        await world.flow(*events(3))
        await world.subscribe(during)
        await world.flow(*events(2))
        await world.subscribe(after)
        assert before.told_of("recent_events") == []
        assert before.live == [1, 2, 3, 4, 5]
        assert during.replayed + during.live == [1, 2, 3, 4, 5]
        assert after.replayed + after.live == [1, 2, 3, 4, 5]
        assert [name for name, _ in during.told] == ["subscribed", "recent_events", "workflow_event", "workflow_event"]


async def test_how_late_deliveries_are_is_counted_by_stage() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.publish(*events(3))
        [batch] = world.group.waiting
        assert isinstance(batch, Batch)
        now = time.time()
        world.hub.receive(batch._replace(published=now - 20, relayed=now - 2))
        counted = world.hub.counters.as_dict()
        assert (counted["latency_total:30"], counted["latency_group:2.5"]) == (3, 3)
        assert sum(buckets(counted, "socket")) == 3
        assert counted["bytes"] == sum(len(entry.document) for entry in batch.entries)
        world.hub.receive(batch)
        assert sum(buckets(world.hub.counters.as_dict(), "total")) == 3


async def test_a_client_gets_one_copy_however_many_of_its_topics_match() -> None:
    async with stage() as world:
        client = await world.client()
        for name, data in [
            ("subscribe_workflow", {"workflow_id": "w1"}),
            ("subscribe_bot", {"bot_id": "b1"}),
            ("subscribe_strategy", {"strategy_id": "s1"}),
            ("subscribe_all_bots", None),
            ("subscribe_workflow", {"workflow_id": "w1"}),
        ]:
            await world.commands.handle(client.session, name, data)
        await world.flow(event("w1", bot_id="b1", strategy_id="s1"), event("w1"), event("w2", bot_id="b1"), event("w3"))
        assert client.live == [1, 2, 3, 4]


async def test_what_one_batch_brings_a_client_goes_out_in_one_write() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        before = client.pipe.writes
        await world.flow(*events(4), *events(2, "other"))
        assert client.pipe.writes == before + 1


async def test_clients_that_get_the_same_events_share_what_was_joined_for_them() -> None:
    async with stage() as world:
        one, two, both = [await world.client() for _ in range(3)]
        for client, workflows in ((one, ["w1"]), (two, ["w1"]), (both, ["w1", "w2"])):
            for workflow in workflows:
                await world.subscribe(client, workflow)
        await world.flow(event("w2"), event("w1"), event("w1"), event("w2"))
        assert (one.live, two.live, both.live) == ([2, 3], [2, 3], [1, 2, 3, 4])
        assert one.pipe.bundles == two.pipe.bundles
        (bundle,) = both.pipe.bundles
        assert bundle.frame == b"".join(message.frame for message in bundle.messages)


async def test_who_gets_an_event_of_several_topics_follows_every_change() -> None:
    """The same topics again and again, so that what was found for the last event is at hand for the next."""
    async with stage() as world:
        of_workflow, of_bot, picky = [await world.client() for _ in range(3)]

        async def flow() -> None:
            await world.flow(event("w1", bot_id="b1", type="node_started"))

        await world.subscribe(of_workflow, "w1")
        await world.commands.handle(of_bot.session, "subscribe_bot", {"bot_id": "b1"})
        await flow()
        await flow()
        await world.commands.handle(picky.session, "subscribe_bot", {"bot_id": "b1", "types": ["node_started"]})
        await flow()
        await world.commands.handle(picky.session, "subscribe_bot", {"bot_id": "b1", "types": ["other"]})
        await flow()
        await world.commands.handle(picky.session, "subscribe_bot", {"bot_id": "b1"})
        await world.commands.handle(of_bot.session, "unsubscribe", {"type": "bot", "bot_id": "b1"})
        await flow()
        await world.commands.disconnect(of_workflow.session, "test")
        await flow()
        assert of_workflow.live == [1, 2, 3, 4, 5]
        assert of_bot.live == [1, 2, 3, 4]
        assert picky.live == [3, 5, 6]


async def test_audiences_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "UNIONS", 3)
    async with stage() as world:
        client = await world.client()
        for name in ("subscribe_all_bots", "subscribe_bot"):
            await world.commands.handle(client.session, name, {"bot_id": "b1"})
        for number in range(8):
            await world.flow(event(f"w{number}", bot_id="b1"))
            assert len(world.hub._unions) <= 3
        assert client.live == list(range(1, 9))


async def test_only_events_of_the_subscribed_topics_are_delivered() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client, "w1")
        await world.flow(event("w2"), event("w1"), event("w10"))
        assert client.live == [2]


async def test_an_unsubscribed_client_gets_nothing_more() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.flow(event())
        await world.commands.handle(client.session, "unsubscribe", {"type": "workflow", "workflow_id": "w1"})
        await world.flow(event())
        assert client.live == [1]
        assert world.hub._topics == {}


async def test_a_replay_holds_the_last_events_only() -> None:
    async with stage(recent_events=3) as world:
        client = await world.client()
        await world.flow(*events(5))
        await world.subscribe(client)
        assert client.replayed == [3, 4, 5]
        assert client.told_of("recent_events")[0]["count"] == 3


# -- loading a topic -----------------------------------------------------------------------------------------------------


async def test_what_comes_while_a_topic_is_loaded_is_neither_lost_nor_doubled() -> None:
    async with stage() as world:
        client = await world.client()
        await world.flow(*events(2))
        world.history.gate.clear()
        subscribing = asyncio.create_task(world.subscribe(client))
        await until(lambda: "recent" in world.history.asked)
        await world.flow(*events(2))
        world.history.gate.set()
        await subscribing
        await world.flow(*events(1))
        assert client.replayed == [1, 2, 3, 4]
        assert client.live == [5]


async def test_what_the_history_holds_but_the_hub_has_not_heard_of_yet_comes_live() -> None:
    async with stage() as world:
        client = await world.client()
        await world.flow(*events(2))
        await world.publish(*events(2))
        await world.subscribe(client)
        assert client.replayed == [1, 2]
        world.group.deliver_all(world.hub)
        assert client.live == [3, 4]


async def test_clients_that_come_together_share_one_read() -> None:
    async with stage() as world:
        clients = [await world.client() for _ in range(10)]
        await world.flow(*events(2))
        await asyncio.gather(*(world.subscribe(client) for client in clients))
        assert world.history.asked.count("recent") == 1
        assert all(client.replayed == [1, 2] for client in clients)


async def test_a_topic_that_somebody_listens_to_is_not_read_again() -> None:
    async with stage() as world:
        for _ in range(3):
            await world.subscribe(await world.client())
        assert world.history.asked.count("recent") == 1


async def test_the_buffer_of_a_topic_goes_with_its_last_client() -> None:
    async with stage() as world:
        first, second = [await world.client() for _ in range(2)]
        await world.subscribe(first)
        await world.subscribe(second)
        await world.commands.disconnect(first.session, "gone")
        assert list(world.hub._topics) == ["workflow:w1"]
        await world.commands.disconnect(second.session, "gone")
        assert world.hub._topics == {}
        await world.flow(*events(2))
        late = await world.client()
        await world.subscribe(late)
        assert late.replayed == [1, 2]


async def test_a_client_that_goes_while_its_topic_is_loaded_leaves_nothing_behind() -> None:
    async with stage() as world:
        client = await world.client()
        world.history.gate.clear()
        subscribing = asyncio.create_task(world.subscribe(client))
        await until(lambda: "recent" in world.history.asked)
        await world.commands.disconnect(client.session, "gone")
        world.history.gate.set()
        await subscribing
        assert client.told == []
        assert (world.hub._topics, world.hub._loading, world.hub.sessions) == ({}, {}, {})


async def test_a_cancelled_subscriber_does_not_take_the_read_from_the_others() -> None:
    async with stage() as world:
        gone, stays = [await world.client() for _ in range(2)]
        await world.flow(*events(2))
        world.history.gate.clear()
        first = asyncio.create_task(world.subscribe(gone))
        second = asyncio.create_task(world.subscribe(stays))
        await until(lambda: "recent" in world.history.asked)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        world.history.gate.set()
        await second
        assert stays.replayed == [1, 2]
        assert world.hub._topics["workflow:w1"].joining == 0


async def test_a_subscription_without_a_history_ends_in_an_error_and_works_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "TOPIC_TIMEOUT_S", 0.03)
    monkeypatch.setattr(hub_module, "RETRY_S", 0.005)
    async with stage() as world:
        client = await world.client()
        await world.flow(*events(2))
        world.history.down = True
        with waits_skipped():
            await world.subscribe(client)
        assert [name for name, _ in client.told] == ["error"]
        assert client.told[0][1]["code"] == "history_unavailable"
        assert (world.hub._topics, world.hub._loading, client.session.topics) == ({}, {}, {})
        world.history.down = False
        with waits_skipped():
            await world.subscribe(client)
        assert client.replayed == [1, 2]


async def test_a_short_outage_only_delays_a_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "RETRY_S", 0.005)
    async with stage() as world:
        client = await world.client()
        await world.flow(*events(2))
        world.history.down = True
        subscribing = asyncio.create_task(world.subscribe(client))
        await until(lambda: world.history.asked.count("recent") > 1)
        world.history.down = False
        await subscribing
        assert client.replayed == [1, 2]


async def test_subscriptions_wait_until_the_hub_knows_the_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "RETRY_S", 0.005)
    world = Stage(EventsConfig())
    world.history.down = True
    world.start()
    try:
        client = await world.client()
        await world.publish(*events(2))
        subscribing = asyncio.create_task(world.subscribe(client))
        await until(lambda: world.history.asked.count("position") > 1)
        assert not world.hub.ready
        assert client.told == []
        world.history.down = False
        await subscribing
        assert client.replayed == [1, 2]
        await world.flow(event())
        assert client.live == [3]
    finally:
        await world.tasks.stop()


# -- what the group does -------------------------------------------------------------------------------------------------


async def test_repeated_and_reordered_batches_change_nothing() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        for _ in range(3):
            await world.publish(*events(2))
        world.group.deliver(world.hub, 0, keep=True)
        world.group.deliver(world.hub, 2)
        world.group.deliver_all(world.hub)
        await world.settled()
        assert client.live == [1, 2, 3, 4, 5, 6]


async def test_a_batch_that_overlaps_what_is_known_is_taken_from_there_on() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.flow(*events(2))
        written = await world.publish(*events(2))
        page = await world.history.kept.read(0, 10)
        world.group.lose_all()
        world.hub.receive(Batch(page.epoch, 1, page.entries))
        assert client.live == [1, 2, 3, 4]
        assert written[-1].number == 4
        assert world.hub.counters.repairs == 0


async def test_a_lost_batch_is_read_from_the_journal_when_the_next_one_comes() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.publish(*events(3))
        world.group.lose_all()
        await world.flow(*events(2))
        await until(lambda: len(client.live) == 5)
        assert client.live == [1, 2, 3, 4, 5]
        assert world.hub.counters.repairs == 1


async def test_a_heartbeat_alone_finds_a_hole() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.publish(*events(3))
        world.group.lose_all()
        await world.beat()
        await until(lambda: len(client.live) == 3)
        assert client.live == [1, 2, 3]


async def test_a_heartbeat_without_a_hole_reads_nothing() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.flow(*events(3))
        await world.beat()
        await turns()
        assert world.hub.counters.repairs == 0
        assert world.hub.heard_at > 0


async def test_a_hole_of_many_pages_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "PAGE", 3)
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.publish(*events(20))
        world.group.lose_all()
        await world.beat()
        await until(lambda: len(client.live) == 20)
        assert client.live == list(range(1, 21))


async def test_an_outage_of_the_history_only_delays_a_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "RETRY_S", 0.005)
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.publish(*events(3))
        world.group.lose_all()
        world.history.down = True
        await world.beat()
        await until(lambda: world.history.asked.count("read") > 1)
        world.history.down = False
        await until(lambda: len(client.live) == 3)
        assert client.live == [1, 2, 3]


async def test_a_batch_that_comes_while_the_journal_is_read_does_not_wait_for_a_heartbeat() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.publish(*events(2))
        world.group.lose_all()
        world.history.hold("read", 2)  # It finds nothing more.
        await world.beat()
        await until(lambda: not world.history.gate.is_set())
        await world.flow(*events(2))
        assert client.live == [1, 2]
        world.history.gate.set()
        await until(lambda: len(client.live) == 4)
        assert client.live == [1, 2, 3, 4]


# -- what the history cannot give back -----------------------------------------------------------------------------------


async def test_what_the_journal_dropped_comes_from_the_recent_buffers_or_is_named_as_missed() -> None:
    async with stage(journal_events=10, recent_events=3) as world:
        busy, quiet = [await world.client() for _ in range(2)]
        await world.subscribe(busy, "busy")
        await world.subscribe(quiet, "quiet")
        await world.flow(event("busy"), event("quiet"))
        await world.publish(*events(2, "quiet"), *events(5, "busy"), *events(20, "other"))
        world.group.lose_all()
        await world.settled()
        assert offsets(quiet) == [1, 2, 3]
        assert quiet.told_of("events_missed") == []
        assert offsets(busy) == [1, 4, 5, 6]
        epoch = world.hub.position.epoch
        assert busy.told_of("events_missed") == [
            {"type": "workflow", "workflow_id": "busy", "from": 2, "to": 3, "reason": "history_trimmed", "epoch": epoch}
        ]
        assert [name for name, _ in busy.told].index("events_missed") < len(busy.told) - 3


async def test_the_range_is_exact_when_the_recent_buffer_lies_wholly_within_the_journal() -> None:
    async with stage(journal_events=10, recent_events=3) as world:
        one, everything = [await world.client() for _ in range(2)]
        await world.subscribe(one)
        await world.commands.handle(everything.session, "subscribe_all_bots")
        await world.flow(*events(2))
        await world.publish(*events(30))
        world.group.lose_all()
        await world.settled()
        assert offsets(one) == [1, 2, *range(23, 33)]
        assert offsets(everything, "all") == [1, 2, *range(23, 33)]
        assert [(told["from"], told["to"]) for told in one.told_of("events_missed")] == [(3, 22)]
        assert [(told["from"], told["to"]) for told in everything.told_of("events_missed")] == [(3, 22)]
        late = await world.client()
        await world.subscribe(late)
        assert late.replayed == [30, 31, 32]


async def test_a_topic_whose_recent_buffer_is_gone_too_is_named_as_missed() -> None:
    async with stage(journal_events=10, recent_ttl_s=60) as world:
        client = await world.client()
        await world.subscribe(client)
        await world.flow(*events(2))
        await world.publish(*events(3))
        world.history.clock.now += 100
        await world.publish(*events(20, "other"))
        world.group.lose_all()
        await world.settled()
        assert [(told["from"], told["to"]) for told in client.told_of("events_missed")] == [(3, 5)]
        await world.flow(event())
        assert offsets(client) == [1, 2, 6]


async def test_a_replay_after_a_gap_has_no_hole() -> None:
    async with stage(journal_events=10, recent_ttl_s=60) as world:
        client, late = await world.client(), await world.client()
        await world.subscribe(client)
        await world.flow(*events(2))
        await world.publish(*events(3))
        world.history.clock.now += 100
        await world.publish(*events(2), *events(20, "other"))
        world.group.lose_all()
        await world.settled()
        await world.subscribe(late)
        assert offsets(client) == [1, 2, 6, 7]
        assert [(told["from"], told["to"]) for told in client.told_of("events_missed")] == [(3, 5)]
        assert [data["offsets"]["workflow"] for data in late.told_of("recent_events")[0]["events"]] == [6, 7]


async def test_a_journal_that_is_empty_by_age_is_no_reason_to_wait_for_the_next_event() -> None:
    async with stage(journal_age_s=60) as world:
        client = await world.client()
        await world.subscribe(client)
        await world.flow(*events(2))
        await world.publish(*events(3))
        world.group.lose_all()
        await world.history.kept.trim(world.history.clock.now + 100)
        await world.settled()
        assert client.live == [1, 2, 3, 4, 5]
        late = await world.client()
        await world.subscribe(late)
        assert late.replayed == [1, 2, 3, 4, 5]


async def test_a_topic_that_is_opened_while_a_gap_is_crossed_is_whole() -> None:
    async with stage(journal_events=5, recent_events=50) as world:
        client = await world.client()
        listener = await world.client()
        await world.subscribe(listener, "other")
        await world.flow(event())
        await world.publish(*events(3), *events(10, "other"))
        world.group.lose_all()
        world.history.gate.clear()
        await world.beat()
        await until(lambda: "read" in world.history.asked)
        subscribing = asyncio.create_task(world.subscribe(client))
        await until(lambda: world.history.asked.count("recent") >= 2)
        world.history.gate.set()
        await subscribing
        await world.settled()
        await world.flow(event())
        replayed = [data["offsets"]["workflow"] for told in client.told_of("recent_events") for data in told["events"]]
        assert replayed + offsets(client) == [1, 2, 3, 4, 5]


async def test_what_was_read_of_a_topic_before_a_gap_was_crossed_is_not_used_after_it() -> None:
    async with stage(journal_events=5, recent_events=3) as world:
        client = await world.client()
        await world.flow(*events(2))
        world.history.keep_back("recent")
        subscribing = asyncio.create_task(world.subscribe(client))
        await until(lambda: "recent" in world.history.asked)
        await world.publish(*events(4), *events(10, "other"))
        world.group.lose_all()
        await world.settled()
        world.history.let_go("recent")
        await subscribing
        await world.flow(event())
        replayed = [data["offsets"]["workflow"] for told in client.told_of("recent_events") for data in told["events"]]
        assert replayed + offsets(client) == [4, 5, 6, 7]


async def test_a_topic_that_becomes_whole_while_a_gap_is_crossed_is_taken_across_too() -> None:
    async with stage(journal_events=5, recent_events=3) as world:
        client, listener = await world.client(), await world.client()
        await world.subscribe(listener, "other")
        await world.flow(*events(2))
        world.history.keep_back("recent")
        subscribing = asyncio.create_task(world.subscribe(client))
        await until(lambda: world.history.asked.count("recent") == 2)
        await world.publish(*events(4), *events(10, "other"))
        world.group.lose_all()
        world.history.keep_back("since")
        await world.beat()
        await until(lambda: "since" in world.history.asked)
        world.history.let_go("recent")
        await subscribing
        world.history.let_go("since")
        await world.settled()
        await world.flow(event())
        assert client.replayed == [1, 2]
        assert offsets(client) == [4, 5, 6, 7]
        assert [(told["from"], told["to"]) for told in client.told_of("events_missed")] == [(3, 3)]


async def test_a_lost_history_is_told_and_the_new_one_is_delivered_from_its_first_event() -> None:
    async with stage() as world:
        client, idle = [await world.client() for _ in range(2)]
        await world.subscribe(client)
        await world.flow(*events(3))
        client.forget()
        world.history.lose_everything()
        await world.publish(*events(2))
        world.group.lose_all()
        await world.beat()
        await until(lambda: len(client.live) == 2)
        epoch = (await world.history.kept.position()).epoch
        assert client.told[0] == (
            "events_missed",
            {"type": "workflow", "workflow_id": "w1", "from": None, "to": None, "reason": "history_lost", "epoch": epoch},
        )
        assert client.live == [1, 2]
        assert idle.told == []
        await world.flow(event())
        assert client.live == [1, 2, 3]
        late = await world.client()
        await world.subscribe(late)
        assert late.replayed == [1, 2, 3]


async def test_a_lost_history_is_caught_up_with_at_once() -> None:
    async with stage() as world:
        client = await world.client()
        await world.subscribe(client)
        await world.flow(*events(3))
        client.forget()
        world.history.lose_everything()
        await world.publish(*events(2))
        world.group.lose_all()
        await world.beat()
        await until(lambda: client.told)
        await turns(20)
        assert client.live == [1, 2]
