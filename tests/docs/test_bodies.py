"""The JSON examples against what a real server sends: the same fields in the same order, with values of the same types."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from events.conf import HistoryLimits, SessionLimits
from events.fanout import notices
from events.fanout.desk import OperatorDesk
from events.fanout.hub import Hub
from events.fanout.session import ClientInfo, Session, Subscription
from events.fanout.wire import Dialect
from events.history.memory import MemoryHistory
from events.pipes import PollingPipe
from events.ports import BusGap, ControlRequest, Emergency
from tests.docs.conftest import Place, Subscriber
from tests.docs.pages import GUIDE, blocks
from tests.system.stack import request

EXAMPLES: Final = {block.name: json.loads(block.text) for block in blocks(GUIDE, "json")}

EVENT_TYPES: Final = ("execution_started", "node_started", "node_completed", "node_failed", "execution_completed")

#: Compared one by one with what the server sends.
ANSWERED: Final = (
    *("connected", "auth_response", "subscribed", "unsubscribed", "workflow_event", "recent_events", "stats_update"),
    *("error", "ack", "GET /health", "GET /metrics", "GET /status", "Monitoring"),
    *("Subscription options", "execution_snapshot", "GET /api/executions/<execution_id>"),
)

#: Told when something is lost, which a healthy server does not show.
MISSED: Final = ("events_missed", "Gaps of the bus")

STAMPS: Final = ("event_id", "offsets")


def shape(value: Any) -> Any:
    """Fields in their order and types; of a list, its first element."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def unstamped(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in STAMPS}


@pytest.fixture(scope="module")
def sent(embedded: Place) -> dict[str, Any]:
    """What a server answers to each command and request that the examples are about."""
    with embedded.subscriber() as client:
        return dict(_sent(embedded, client))


def _sent(place: Place, client: Subscriber) -> Iterator[tuple[str, Any]]:
    event = unstamped(EXAMPLES["workflow_event"])
    workflow = {"workflow_id": event["workflow_id"]}
    yield "connected", client.greeting
    yield "auth_response", client.ask("authenticate", {"token": "any"}, "auth_response")
    yield "error", client.ask("subscribe_workflow", {}, "error")
    yield "subscribed", client.ask("subscribe_workflow", workflow, "subscribed")
    yield "POST /api/events", [place.server.publish(event)[1], place.server.publish(event, {})[1]]
    yield "workflow_event", client.until("workflow_event")
    yield "recent_events", _recent(place, client, unstamped(EXAMPLES["recent_events"]["events"][0]))
    yield "stats_update", client.ask("request_stats", None, "stats_update")
    for path in ("/health", "/status"):
        yield f"GET {path}", json.loads(request(place.server.url + path)[1])
    yield "GET /metrics", _metrics(place)
    yield from _failing(place, client)
    yield "unsubscribed", client.ask("unsubscribe_workflow", workflow, "unsubscribed")
    client.send({"event": "subscribe_workflow", "data": workflow, "id": 1})
    yield "ack", client.until("ack")
    yield "Monitoring", next(json.loads(line) for line in place.server.log.splitlines() if "client_connected" in line)


def _metrics(place: Place) -> Any:
    """With those refusals and errors that the example has; the place's other tests cause more."""
    request(f"{place.server.url}/socket.io/?EIO=4&transport=polling", b"4" * 1_000_001)
    body = json.loads(request(f"{place.server.url}/metrics")[1])
    for name in ("refused", "errors"):
        body["counters"][name] = {label: body["counters"][name][label] for label in EXAMPLES["GET /metrics"]["counters"][name]}
    return body


def _failing(place: Place, client: Subscriber) -> Iterator[tuple[str, Any]]:
    """What is told of an execution with a node that failed."""
    ids = {"execution_id": "exec_failing", "workflow_id": "failing"}
    failed = unstamped(EXAMPLES["GET /api/executions/<execution_id>"]["events"][0]) | ids
    common = ids | {"timestamp": failed["timestamp"], "node_id": failed["node_id"]}
    client.ask("subscribe_workflow", ids, "subscribed")
    place.server.publish(
        {"type": "execution_started", **common, "node_count": 1},
        {"type": "node_started", **common, "node_name": "Binance Price Feed", "node_category": "providers"},
        failed,
    )
    while client.until("workflow_event")["type"] != failed["type"]:
        pass  # The history has all of them once the last one came.
    client.send({"event": "subscribe_workflow", "data": ids | {"snapshot": True, "epoch": None, "offset": None}})
    yield "Subscription options", client.until("subscribed")
    yield "execution_snapshot", client.until("execution_snapshot")
    detail = json.loads(request(f"{place.server.url}/api/executions/exec_failing")[1])
    yield "GET /api/executions/<execution_id>", detail | {"events": detail["events"][-1:]}


def _recent(place: Place, client: Subscriber, event: dict[str, Any]) -> Any:
    """What a new subscription to a workflow with one event gets."""
    event |= {"workflow_id": "with_one_event"}
    client.ask("subscribe_workflow", {"workflow_id": event["workflow_id"]}, "subscribed")
    place.server.publish(event)
    client.until("workflow_event")
    return client.ask("subscribe_workflow", {"workflow_id": event["workflow_id"]}, "recent_events")


def test_every_example_is_compared() -> None:
    others = {
        "Accepted",
        "Refused",
        "Common Fields",
        "notice",
        "server_draining",
        "emergency_state",
        "subscription_revoked",
        *MISSED,
        *EVENT_TYPES,
    }
    assert set(EXAMPLES) == {*ANSWERED, *others}


@pytest.mark.parametrize("name", ANSWERED)
def test_an_example_is_what_the_server_sends(sent: dict[str, Any], name: str) -> None:
    assert shape(sent[name]) == shape(EXAMPLES[name])


def test_fixed_values_are_those_of_the_server(sent: dict[str, Any]) -> None:
    for name in ("auth_response", "subscribed", "unsubscribed", "error"):
        assert sent[name] == EXAMPLES[name]
    assert sent["connected"]["message"] == EXAMPLES["connected"]["message"]
    assert sent["GET /status"]["server"] == EXAMPLES["GET /status"]["server"]


def test_answers_to_publishers(sent: dict[str, Any]) -> None:
    accepted, refused = sent["POST /api/events"]
    assert shape(accepted) == shape(EXAMPLES["Accepted"])
    assert shape(refused) == shape(EXAMPLES["Refused"])


@pytest.mark.parametrize("name", ["Common Fields", *EVENT_TYPES])
def test_an_event_arrives_as_it_was_published(embedded: Place, name: str) -> None:
    event = EXAMPLES[name]
    assert name in (event["type"], "Common Fields")
    with embedded.subscriber() as client:
        client.listen()
        assert embedded.server.publish(event)[0] == 202
        received = client.until("workflow_event")
    assert list(received) == [*event, *STAMPS]
    assert unstamped(received) == event


@pytest.fixture
async def hub() -> Hub:
    return Hub(MemoryHistory(HistoryLimits()), 100)


async def test_events_missed_of_a_topic(hub: Hub) -> None:
    example = EXAMPLES["events_missed"]
    topic = f"workflow:{example['workflow_id']}"
    assert shape(hub.missed(topic, example["from"], example["to"], example["reason"])) == shape(example)


def test_what_clients_are_told_of_the_server() -> None:
    assert notices.draining(4.2, 20.0) == EXAMPLES["server_draining"]
    assert notices.emergency(Emergency("halt", "exchange maintenance", 1_769_248_800.0)) == EXAMPLES["emergency_state"]


def joined(hub: Hub) -> PollingPipe:
    """The way out of a client that subscribed to everything."""
    pipe = PollingPipe()
    session = Session("sid", Dialect.PLAIN, pipe, SessionLimits(), ClientInfo(), lambda _: None)
    session.topics["all"] = Subscription(0, None)
    hub.add(session)
    return pipe


async def test_a_notice_of_an_operator(hub: Hub) -> None:
    pipe, example = joined(hub), EXAMPLES["notice"]
    fields = {"level": example["level"], "message": example["message"]}
    assert OperatorDesk(hub).carry_out(ControlRequest("notice", "sid", fields)).outcome == "done"
    (packet,) = pipe.drain()
    assert shape(json.loads(packet)["data"]) == shape(example)


async def test_events_missed_of_the_bus(hub: Hub) -> None:
    pipe = joined(hub)
    hub.receive_gap(BusGap("pubsub", "dropped", 12, 1_769_248_800.0, 1_769_248_805.0))
    (packet,) = pipe.drain()
    assert json.loads(packet)["data"] == EXAMPLES["Gaps of the bus"]
