"""The guide's protocol between real clients and a real deployment: two servers, a relay, Redis, and executors elsewhere."""

import asyncio
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.redis_server import RedisServer
from tests.system.clients import KINDS, ONE_OF_EACH, NodeClient, NodeHost, PlainClient, until
from tests.system.conftest import Connect
from tests.system.event_data import assert_contiguous, assert_delivered, event, numbers, published, run_of
from tests.system.stack import Server, Stack, await_condition

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def stack(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("clients"), redis_server) as running:
        yield running


@pytest.fixture(scope="module")
def servers(stack: Stack) -> list[Server]:
    """Two open servers, and a third that asks for a token."""
    relay = stack.runbus()
    started = [stack.serve(wait=False), stack.serve(wait=False), stack.serve(wait=False, WS_AUTH_TOKEN=TOKEN)]
    for server in started:
        server.await_health()
    relay.await_log("relay_leads")
    # The relay hears executors that PUBLISH once it has subscribed.
    assert stack.redis is not None
    redis = stack.redis

    def subscribers() -> int:
        return int(redis.command("PUBSUB", "NUMSUB", "workflow_events")[1])

    await_condition(lambda: subscribers() == 1, lambda: "the relay's subscription")
    return started


@pytest.fixture
def first(servers: list[Server]) -> Server:
    return servers[0]


@pytest.fixture
def second(servers: list[Server]) -> Server:
    return servers[1]


@pytest.fixture
def guarded(servers: list[Server]) -> Server:
    return servers[2]


@pytest.fixture
def name() -> str:
    """An id that no other test uses."""
    return uuid.uuid4().hex[:12]


async def subscribe(client: Any, kind: str, identifier: str) -> None:
    """Subscribe and wait for the confirmation."""
    before = len(client.all("subscribed"))
    await client.emit(f"subscribe_{kind}", {f"{kind}_id": identifier})
    assert await client.wait("subscribed", before + 1) == {"type": kind, f"{kind}_id": identifier}


def after(client: Any, event_name: str) -> list[str]:
    """Names of the events from the first of this name on."""
    names = [received for received, _ in client.received]
    return names[names.index(event_name) :]


# -- the guide ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_is_greeted_as_the_guide_says(connect: Connect, first: Server, kind: str) -> None:
    client = await connect(kind, first)
    greeting = client.all("connected")[0]
    assert list(greeting) == ["sid", "message", "auth_required", "server_time"]
    assert greeting["sid"] == client.sid
    assert greeting["message"] == "Connected to workflow events"
    assert greeting["auth_required"] is False
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", greeting["server_time"])
    assert client.received[0][0] == "connected"


@pytest.mark.parametrize("kind", KINDS)
async def test_before_during_and_after_a_run(
    connect: Connect, stack: Stack, first: Server, second: Server, kind: str, name: str
) -> None:
    run = run_of(30, name)
    before = await connect(kind, first)
    await subscribe(before, "workflow", name)
    stack.add_to_stream(*run[:10])
    during = await connect(kind, second)
    await subscribe(during, "workflow", name)
    stack.publish_on_channel(*run[10:20])
    await before.wait("workflow_event", 20)
    assert first.publish(*run[20:])[0] == 202
    await before.wait("workflow_event", 30)
    after_run = await connect(kind, first)
    await subscribe(after_run, "workflow", name)
    replay = await after_run.wait("recent_events")

    assert_delivered(before.all("workflow_event"), run, "workflow")
    assert "recent_events" not in after(before, "subscribed")

    await until(lambda: during.received[-1][1].get("number") == 29, "the end of the run")
    replayed = [item for body in during.all("recent_events") for item in body["events"]]
    assert_delivered(replayed + during.all("workflow_event"), run, "workflow")

    assert list(replay) == ["events", "count"]
    assert replay["count"] == 30
    assert_delivered(replay["events"], run, "workflow")
    assert after(after_run, "subscribed") == ["subscribed", "recent_events"]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_copy_of_each_event_whatever_matches(
    connect: Connect, stack: Stack, first: Server, second: Server, kind: str, name: str
) -> None:
    run = run_of(20, name, f"bot-{name}", f"strategy-{name}")
    clients = [await connect(kind, server) for server in (first, second)]
    for client in clients:
        await subscribe(client, "workflow", name)
        await subscribe(client, "bot", f"bot-{name}")
        await subscribe(client, "strategy", f"strategy-{name}")
        await client.emit("subscribe_all_bots")
        await client.wait("subscribed", 4)
        await client.emit("subscribe_workflow", {"workflow_id": name})
        await client.wait("subscribed", 5)
    stack.add_to_stream(*run)
    for client in clients:
        await client.wait("workflow_event", 20)
        # Whatever is still on its way would come before the answer to this.
        await client.emit("unsubscribe_all_bots")
        await client.wait("unsubscribed")
        live = client.all("workflow_event")
        for topic in ("workflow", "bot", "strategy", "all"):
            assert_delivered(live, run, topic)
        assert len({item["event_id"] for item in live}) == 20
    assert clients[0].all("workflow_event") == clients[1].all("workflow_event")


@pytest.mark.parametrize("kind", KINDS)
async def test_publishers_may_come_from_everywhere_at_once(
    connect: Connect, stack: Stack, first: Server, second: Server, kind: str, name: str
) -> None:
    """Each publisher's events stay in their order; every client sees the same order of all."""
    clients = [await connect(kind, server) for server in (first, second)]
    for client in clients:
        await subscribe(client, "bot", name)
    sources = [run_of(20, f"{name}-{source}", name) for source in ("stream", "channel", "http")]
    await asyncio.gather(
        asyncio.to_thread(stack.add_to_stream, *sources[0]),
        asyncio.to_thread(stack.publish_on_channel, *sources[1]),
        asyncio.to_thread(lambda: [second.publish(item) for item in sources[2]]),
    )
    for client in clients:
        await client.wait("workflow_event", 60)
        assert_contiguous(client.all("workflow_event"), "bot")
    assert clients[0].all("workflow_event") == clients[1].all("workflow_event")
    for source in sources:
        of_source = [item for item in clients[0].all("workflow_event") if item["workflow_id"] == source[0]["workflow_id"]]
        assert_delivered(of_source, source, "workflow")


@pytest.mark.parametrize("kind", ONE_OF_EACH)
@pytest.mark.parametrize("spelling", ["typed", "named", "camel"])
async def test_unsubscribing(connect: Connect, stack: Stack, first: Server, kind: str, spelling: str, name: str) -> None:
    client = await connect(kind, first)
    for topic in ("workflow", "bot", "strategy"):
        await subscribe(client, topic, name)
    for number, topic in enumerate(("workflow", "bot", "strategy"), 1):
        match spelling:
            case "typed":
                await client.emit("unsubscribe", {"type": topic, f"{topic}_id": name})
            case "named":
                await client.emit(f"unsubscribe_{topic}", {f"{topic}_id": name})
            case _:
                await client.emit("unsubscribe", {"type": topic, f"{topic}Id": name})
        assert await client.wait("unsubscribed", number) == {"type": topic, f"{topic}_id": name}
    other = await connect(kind, first)
    await subscribe(other, "workflow", name)
    stack.add_to_stream(event(1, name, name, name))
    await other.wait("workflow_event")
    await client.call("request_stats")
    assert client.all("workflow_event") == []


@pytest.mark.parametrize("kind", ONE_OF_EACH)
async def test_the_spellings_of_deployed_dashboards(
    connect: Connect, stack: Stack, first: Server, kind: str, name: str
) -> None:
    client = await connect(kind, first)
    for number, topic in enumerate(("workflow", "bot", "strategy"), 1):
        await client.emit(f"subscribe_{topic}", {f"{topic}Id": name})
        assert await client.wait("subscribed", number) == {"type": topic, f"{topic}_id": name}
    await client.emit("subscribe_all_bots", {})
    assert await client.wait("subscribed", 4) == {"type": "all_bots"}
    stack.add_to_stream(event(7, name))
    await until(lambda: name in [item["workflow_id"] for item in client.all("workflow_event")], "the event")
    await client.emit("unsubscribe", {"type": "all_bots"})
    assert await client.wait("unsubscribed") == {"type": "all_bots"}


@pytest.mark.parametrize("kind", ONE_OF_EACH)
async def test_answers_reach_the_callback_too(connect: Connect, first: Server, kind: str, name: str) -> None:
    client = await connect(kind, first)
    assert await client.call("subscribe_workflow", {"workflow_id": name}) == {"type": "workflow", "workflow_id": name}
    assert client.all("subscribed") == [{"type": "workflow", "workflow_id": name}]
    refused = await client.call("subscribe_bot", {"bot_id": 5})
    assert refused["field"] == "bot_id"
    assert client.all("error") == [refused]
    stats = await client.call("request_stats")
    assert client.all("stats_update") == [stats]
    assert set(stats) >= {"timestamp", "uptime_seconds", "connections", "subscriptions", "events"}
    assert stats["connections"]["current"] >= 1


@pytest.mark.parametrize("kind", ONE_OF_EACH)
async def test_the_publishers_fields_are_untouched(connect: Connect, stack: Stack, first: Server, kind: str, name: str) -> None:
    odd = event(
        1, name, type="custom_thing", outputs={"price": 50234.56, "ü": '\u2028 \\ " </script>'}, offset=[None, True, {}]
    )
    client = await connect(kind, first)
    await subscribe(client, "workflow", name)
    stack.add_to_stream(odd)
    delivered = await client.wait("workflow_event")
    assert published(delivered) == odd
    assert list(delivered)[: len(odd)] == list(odd)
    assert set(delivered["offsets"]) == {"all", "workflow"}


# -- authentication ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_without_a_token(connect: Connect, stack: Stack, guarded: Server, kind: str, name: str) -> None:
    client = await connect(kind, guarded)
    assert client.all("connected")[0]["auth_required"] is True
    for command, data in [
        ("subscribe_workflow", {"workflow_id": name}),
        ("subscribe_bot", {"bot_id": name}),
        ("subscribe_strategy", {"strategy_id": name}),
        ("subscribe_all_bots", {}),
        ("request_stats", {}),
    ]:
        refused = await client.call(command, data)
        assert refused["message"] == "Authentication required"
    assert [item["message"] for item in client.all("error")] == ["Authentication required"] * 5
    assert await client.call("authenticate", {"token": "wrong"}) == {
        "success": False,
        "message": "Invalid token",
        "code": "invalid_token",
    }
    for wrong in ({"token": None}, {}, {"token": [TOKEN]}, {"token": ""}, None):
        assert (await client.call("authenticate", wrong))["field"] == "token"
    assert (await client.call("subscribe_workflow", {"workflow_id": name}))["message"] == "Authentication required"
    assert await client.call("authenticate", {"token": TOKEN}) == {"success": True, "message": "Authentication successful"}
    await subscribe(client, "workflow", name)
    stack.add_to_stream(event(3, name))
    assert (await client.wait("workflow_event"))["number"] == 3


@pytest.mark.parametrize("kind", ["node-websocket", "node-default", "python-polling", "python-default"])
async def test_the_token_in_the_auth_payload(connect: Connect, guarded: Server, kind: str, name: str) -> None:
    client = await connect(kind, guarded, auth={"token": TOKEN})
    assert await client.wait("auth_response") == {"success": True, "message": "Authentication successful"}
    assert [received for received, _ in client.received] == ["connected", "auth_response"]
    await subscribe(client, "workflow", name)
    refused = await connect(kind, guarded, auth={"token": "wrong"})
    told = {"success": False, "message": "Invalid token", "code": "invalid_token"}
    assert await refused.wait("auth_response") == told


def test_publishing_needs_the_token_too(guarded: Server, name: str) -> None:
    assert guarded.publish(event(1, name))[0] == 401
    assert guarded.publish(event(1, name), token="wrong")[0] == 401
    status, answer = guarded.publish(event(1, name), token=TOKEN)
    assert status == 202
    assert answer["accepted"] == len(answer["ids"]) == 1


# -- what clients do wrong ---------------------------------------------------------------------------------------------

WRONG: list[tuple[str, tuple[Any, ...], str]] = [
    ("subscribe_workflow", (), "workflow_id"),
    ("subscribe_workflow", (None,), "workflow_id"),
    ("subscribe_workflow", (["w"],), "workflow_id"),
    ("subscribe_workflow", ("w",), "workflow_id"),
    ("subscribe_workflow", (7,), "workflow_id"),
    ("subscribe_workflow", ({},), "workflow_id"),
    ("subscribe_workflow", ({"workflow_id": None},), "workflow_id"),
    ("subscribe_workflow", ({"workflow_id": ""},), "workflow_id"),
    ("subscribe_workflow", ({"workflow_id": "  "},), "workflow_id"),
    ("subscribe_workflow", ({"workflow_id": "x" * 257},), "workflow_id"),
    ("subscribe_workflow", ({"workflow_id": 5},), "workflow_id"),
    ("subscribe_workflow", ({"workflow_id": ["w"]},), "workflow_id"),
    ("subscribe_bot", ({"botId": {}},), "bot_id"),
    ("subscribe_strategy", ({"workflow_id": "w"},), "strategy_id"),
    ("unsubscribe", ({},), "type"),
    ("unsubscribe", ({"type": "nothing"},), "type"),
    ("unsubscribe", ({"type": ["workflow"]},), "type"),
    ("unsubscribe", ({"type": "workflow"},), "workflow_id"),
    ("unsubscribe_bot", ({"bot_id": False},), "bot_id"),
    ("authenticate", ("token",), "token"),
    ("subscribe_everything", ({},), "event"),
    ("x" * 5_000, ({},), "event"),
]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_wrong_is_named_and_the_connection_stays(connect: Connect, first: Server, kind: str, name: str) -> None:
    client = await connect(kind, first)
    for number, (command, args, field) in enumerate(WRONG, 1):
        await client.emit(command, *args)
        error = await client.wait("error", number)
        assert error.get("field") == field, (command, args, error)
        assert error["message"]
        assert field == "event" or field in error["message"]
        assert len(error["message"]) < 1_000
    await subscribe(client, "workflow", name)
    assert not client.closed


@pytest.mark.parametrize("kind", ["node-websocket", "node-polling", "python-websocket", "python-polling"])
async def test_binary_attachments_are_understood_and_refused(connect: Connect, first: Server, kind: str, name: str) -> None:
    client = await connect(kind, first)
    await client.emit("subscribe_workflow", {"workflow_id": {"$binary": "00ff10"}})
    assert (await client.wait("error"))["field"] == "workflow_id"
    await client.emit("subscribe_workflow", {"$binary": "00ff10"})
    assert "object" in (await client.wait("error", 2))["message"]
    await subscribe(client, "workflow", name)


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]])
async def test_unknown_namespaces_are_refused(node: NodeHost, first: Server, transports: list[str]) -> None:
    client = await NodeClient(node).connect(first.url, "/nowhere", transports=transports, reconnection=False)
    assert client.refused == "Invalid namespace"
    assert client.connects == 0
    await client.close()


@pytest.mark.parametrize("kind", ["node-websocket", "node-polling", "python-websocket", "plain"])
async def test_a_message_over_the_limit_ends_its_own_connection_only(
    connect: Connect, stack: Stack, first: Server, kind: str, name: str
) -> None:
    neighbour = await connect("python-websocket", first)
    await subscribe(neighbour, "workflow", name)
    options = {"reconnection": False} if kind.startswith("node") else {}
    client = await connect(kind, first, **options)
    await client.emit("subscribe_workflow", {"workflow_id": "x" * 1_200_000})
    if kind == "node-polling":
        # The POST is refused with 413, which this client takes as a failure of the transport.
        assert await client.wait_closed() == "transport error"
    else:
        await client.wait_closed()
    stack.add_to_stream(event(1, name))
    await neighbour.wait("workflow_event")
    assert not neighbour.closed


# -- plain messages ----------------------------------------------------------------------------------------------------


async def test_what_is_no_message_gets_an_error(first: Server, name: str) -> None:
    client = await PlainClient().connect(first.ws_url)
    wrong: list[Any] = [
        "{",
        "",
        "null",
        "[]",
        "7",
        '"text"',
        {},
        {"event": 5},
        {"event": None},
        {"data": {}},
        b"\x00\xff",
        b"{}",
    ]
    for number, message in enumerate(wrong, 1):
        await client.send(message)
        error = await client.wait("error", number)
        assert error["field"] == "event", (message, error)
    await subscribe(client, "workflow", name)
    await client.send(f'{{"event": "subscribe_workflow", "data": {{"workflow_id": "{name}"}}}}'.encode())
    await client.wait("subscribed", 2)
    await client.close()


# -- numbers of all processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ONE_OF_EACH)
async def test_each_server_counts_the_clients_of_all(
    connect: Connect, first: Server, second: Server, kind: str, name: str
) -> None:
    def current(server: Server) -> tuple[int, int]:
        metrics = server.json("/metrics")
        health = server.json("/health")
        return metrics["connections"]["current"], health["websocket"]["connected_clients"]

    await until(lambda: current(first) == current(second) == (0, 0), lambda: (current(first), current(second)))
    client = await connect(kind, second)
    await subscribe(client, "workflow", name)
    await subscribe(client, "bot", name)

    def row() -> dict[str, Any] | None:
        rows = first.json("/metrics")["subscriptions"]["by_client"]
        return next((found for found in rows if found["sid"] == client.sid), None)

    expected = {"sid": client.sid, "workflow_count": 1, "bot_count": 1, "strategy_count": 0}
    await until(lambda: current(first) == (1, 1) and row() == expected, lambda: (current(first), row()))
    await client.close()
    await until(lambda: current(first) == (0, 0), lambda: current(first))


async def test_counters_are_of_all_processes(connect: Connect, stack: Stack, first: Server, second: Server, name: str) -> None:
    before = first.json("/metrics")["events"]
    clients = [await connect("python-websocket", server) for server in (first, second)]
    for client in clients:
        await subscribe(client, "workflow", name)
    stack.add_to_stream(*run_of(5, name))
    for client in clients:
        await client.wait("workflow_event", 5)
        assert numbers(client.all("workflow_event")) == [0, 1, 2, 3, 4]

    def grown() -> tuple[int, int]:
        events = second.json("/metrics")["events"]
        return events["received"] - before["received"], events["sent"] - before["sent"]

    await until(lambda: grown() == (5, 10), grown)
