"""What operators may ask of a client's process."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from events.domain.topics import ALL
from events.fanout.desk import DISCONNECT_REASON, OperatorDesk
from events.ports import ControlReply, ControlRequest
from tests.contracts.support import event
from tests.fanout.support import Client, Stage, events, stage


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Stage]:
    async with stage() as running:
        yield running


def ask(world: Stage, client: Client, action: str, **fields: str) -> ControlReply:
    return OperatorDesk(world.hub).carry_out(ControlRequest(action, client.session.sid, fields))


def described(world: Stage, client: Client) -> dict[str, Any]:
    reply = ask(world, client, "describe")
    assert reply.outcome == "done"
    return reply.data


async def greeted(world: Stage) -> Client:
    client = Client(world.config.session)
    await world.commands.connect(client.session, {})
    return client


async def test_a_client_is_described_with_what_it_did(world: Stage) -> None:
    client = await greeted(world)
    await world.flow(*events(3))
    await world.commands.handle(client.session, "authenticate", {"token": "secret-0123456789"})
    await world.commands.handle(client.session, "subscribe_workflow", {"workflow_id": "w1"})
    await world.commands.handle(client.session, "subscribe_all_bots", {"types": ["b", "a"]})
    refusal = await world.commands.handle(client.session, "subscribe_bot", {"bot_id": 7})
    found = described(world, client)
    assert found["subscriptions"] == [("workflow:w1", None), (ALL, ["a", "b"])]
    assert (found["sent"], found["replays"], found["position"], found["cursor"], found["behind"]) == (3, 1, 3, None, 0)
    assert found["last_error"] == refusal
    assert [command[1:] for command in found["commands"]] == [
        ("subscribe_bot", "", "invalid_field"),
        ("subscribe_all_bots", "", ""),
        ("subscribe_workflow", "w1", ""),
        ("authenticate", "", ""),
    ]
    assert "secret" not in str(found)


async def test_only_the_last_commands_are_remembered_and_only_so_much_of_each(world: Stage) -> None:
    client = await greeted(world)
    for number in range(30):
        await world.commands.handle(client.session, f"nonsense-{number}" + "x" * 1_000, {"type": "y" * 1_000})
    commands = described(world, client)["commands"]
    assert [name.split("x")[0] for _, name, _, _ in commands] == [f"nonsense-{number}" for number in range(29, 9, -1)]
    assert max(len(name) + len(subject) for _, name, subject, _ in commands) == 64 + 80
    assert isinstance(client.session.commands, bytes), "one object, and not one for each word"


async def test_how_far_a_lagging_client_is_behind(world: Stage) -> None:
    client = await greeted(world)
    await world.subscribe(client)
    client.pipe.stalled = True
    client.pipe.pending = world.config.session.buffer_bytes + 1
    await world.flow(*events(4))
    found = described(world, client)
    assert (found["lagging"], found["cursor"], found["position"], found["behind"]) == (True, 0, 4, 4)


async def test_what_a_client_was_told_to_miss_is_added_up(world: Stage) -> None:
    client = await greeted(world)
    client.session.tell_missed(world.hub.missed("bot:b", 3, 7, "history_trimmed"))
    client.session.tell_missed(world.hub.missed("bot:b", None, None, "history_lost"))
    found = described(world, client)
    assert (found["gaps"], found["missed"]) == (2, 5)
    assert len(client.told_of("events_missed")) == 2


async def test_disconnect(world: Stage) -> None:
    client = await greeted(world)
    assert ask(world, client, "disconnect") == ControlReply("done")
    assert client.closed_with == DISCONNECT_REASON


async def test_unsubscribe_tells_the_client_and_ends_its_events(world: Stage) -> None:
    client = await greeted(world)
    await world.subscribe(client, "w1")
    await world.commands.handle(client.session, "subscribe_bot", {"bot_id": "b1"})
    assert ask(world, client, "unsubscribe", topic="workflow:w1").outcome == "done"
    assert client.told_of("unsubscribed") == [{"type": "workflow", "workflow_id": "w1", "reason": "operator"}]
    await world.flow(event("w1"), event("w2", bot_id="b1"))
    assert client.live == [2]
    again = ask(world, client, "unsubscribe", topic="workflow:w1")
    assert again == ControlReply("refused", "The client is not subscribed to workflow:w1.")


async def test_a_notice(world: Stage) -> None:
    client, other = await greeted(world), await greeted(world)
    other.forget()
    assert ask(world, client, "notice", level="warning", message="Back at 10:00 – é").outcome == "done"
    [notice] = client.told_of("notice")
    assert notice.pop("timestamp").endswith("Z")
    assert notice == {"level": "warning", "message": "Back at 10:00 – é"}
    assert other.told == []


async def test_what_cannot_be_done_is_refused_with_the_reason(world: Stage) -> None:
    client = await greeted(world)
    assert "another release" in ask(world, client, "explode").detail
    assert ask(world, client, "notice").outcome == "refused"
    await world.commands.disconnect(client.session, "gone")
    assert ask(world, client, "disconnect") == ControlReply("refused", "The client is not connected any more.")


async def test_actions_are_counted_and_looking_is_not(world: Stage) -> None:
    client = await greeted(world)
    described(world, client)
    ask(world, client, "disconnect")
    assert {name: count for name, count in world.hub.counters.labelled.items() if "controlled" in name} == {
        "controlled:disconnect": 1
    }


async def test_topics_with_the_most_subscribers_come_first(world: Stage) -> None:
    one, two = await greeted(world), await greeted(world)
    await world.commands.handle(one.session, "subscribe_bot", {"bot_id": "quiet"})
    for client in (one, two):
        await world.subscribe(client, "w1")
    await world.commands.handle(two.session, "subscribe_workflow", {"workflow_id": "w1", "types": ["signal"]})
    await world.flow(*events(3))
    first, second = OperatorDesk(world.hub).carry_out(ControlRequest("topics", "")).data["topics"]
    assert first[:4] == ("workflow:w1", 2, 3, 3)
    assert '"type"' in first[4]
    assert second == ("bot:quiet", 1, 0, 0, "")
    assert world.hub.listened_topics(1) == [first]
