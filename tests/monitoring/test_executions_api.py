"""`GET /api/executions`, from what another process wrote to a real Redis."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from events import executions_api
from events.conf import EventsConfig, HistoryLimits
from events.domain.event import EventLimits, parse_event
from events.fanout.folder import Folder
from events.ports import Append
from events.wiring import Adapters
from tests.monitoring.conftest import Elsewhere

Relay = Callable[..., None]


@pytest.fixture
def relay(elsewhere: Elsewhere) -> Relay:
    """Writes events and the states of their executions, as the relay does."""

    def write(*events: dict[str, Any]) -> None:
        parsed = [parse_event(json.dumps(event).encode(), EventLimits()) for event in events]

        async def act(adapters: Adapters) -> None:
            position = await adapters.history.position()
            states = await Folder(adapters.history).fold(parsed, position)
            await adapters.history.append(Append(1, position, "stream", "", parsed, (), states))

        elsewhere(act)

    return write


def event(execution_id: str = "x", kind: str = "node_started", **fields: Any) -> dict[str, Any]:
    common = {"type": kind, "execution_id": execution_id, "workflow_id": "w1", "timestamp": "2026-01-24T10:00:00.000Z"}
    return {**common, "node_id": "n", **fields}


def listed(client: Client, **query: str) -> list[str]:
    response = client.get("/api/executions", query)
    assert response.status_code == 200
    return [execution["execution_id"] for execution in response.json()["executions"]]


def detail(client: Client, execution_id: str) -> dict[str, Any]:
    response = client.get(f"/api/executions/{quote(execution_id, safe='')}")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


# -- all executions of a topic -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/executions", "/api/executions/"])
def test_all_executions_with_the_place_at_which_they_are_true(client: Client, relay: Relay, path: str) -> None:
    relay(event("a"), event("b", bot_id="b1"))
    relay(event("a", "execution_completed", status="failed", error="Broken"))
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    body = response.json()
    assert list(body) == ["type", "epoch", "offset", "executions"]
    assert (body["type"], body["offset"]) == ("all_bots", 3)
    first, second = body["executions"]
    assert (first["execution_id"], first["status"], first["error"], first["last"]) == ("a", "failed", "Broken", 3)
    assert (second["execution_id"], second["status"], second["bot_id"]) == ("b", "running", "b1")
    assert second["nodes"][0]["node_id"] == "n"


def test_an_empty_history(client: Client, on_redis: EventsConfig) -> None:
    body = client.get("/api/executions", {"workflow": "w1"}).json()
    assert body == {"type": "workflow", "workflow_id": "w1", "epoch": body["epoch"], "offset": 0, "executions": []}
    assert body["epoch"]


def test_filters(client: Client, relay: Relay) -> None:
    relay(event("a"), event("b", workflow_id="w:2/x"), event("c", bot_id="b1"), event("d", strategy_id="s é"))
    relay(event("c", "execution_completed"))
    assert listed(client) == ["c", "d", "b", "a"]
    assert listed(client, workflow="w1") == ["c", "d", "a"]
    assert listed(client, workflow="w:2/x") == ["b"]
    assert listed(client, bot="b1") == ["c"]
    assert listed(client, strategy="s é") == ["d"]
    assert listed(client, workflow="w1", status="running") == ["d", "a"]
    assert listed(client, status="completed") == ["c"]
    assert listed(client, status="none") == []
    assert listed(client, limit="2") == ["c", "d"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "²"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"workflow": "a", "bot": "b"}, "one of workflow, bot, strategy"),
        ({"bot": " "}, "bot"),
        ({"status": ""}, "status"),
    ],
)
def test_what_makes_no_sense_is_refused(client: Client, on_redis: EventsConfig, query: dict[str, str], named: str) -> None:
    response = client.get("/api/executions", query)
    assert response.status_code == 400
    assert list(response.json()) == ["message"]
    assert named in response.json()["message"]


# -- one execution -----------------------------------------------------------------------------------------------------


def test_one_execution_with_its_events(client: Client, relay: Relay) -> None:
    relay(event("x", number=1.10), event("other"), event("x", "node_completed", big=2**60))
    relay(event("other"), event("x", "price_tick", text="é"))
    body = detail(client, "x")
    assert list(body) == ["execution", "complete", "events"]
    assert (body["execution"]["events"], body["execution"]["counts"]["completed"]) == (3, 1)
    assert body["complete"] is True
    assert [event["type"] for event in body["events"]] == ["node_started", "node_completed", "price_tick"]
    assert [event["offsets"]["all"] for event in body["events"]] == [1, 3, 5]
    raw = client.get("/api/executions/x").content
    assert b'"number": 1.1' in raw
    assert b'"big": 1152921504606846976' in raw


@pytest.mark.parametrize("name", ["a/b", "a b", "é🎉", "a?b#c", "%2F", "a:b", "..."])
@pytest.mark.parametrize("end", ["", "/"])
def test_ids_may_hold_anything(client: Client, relay: Relay, name: str, end: str) -> None:
    relay(event(name))
    response = client.get(f"/api/executions/{quote(name, safe='')}{end}")
    assert response.status_code == 200
    assert response.json()["execution"]["execution_id"] == name


def test_an_unknown_execution(client: Client, on_redis: EventsConfig) -> None:
    response = client.get("/api/executions/nobody")
    assert response.status_code == 404
    assert response.json() == {"message": "No execution 'nobody' is known, or it had no event for too long."}


def test_events_that_left_the_journal_are_missed(client: Client, relay: Relay, elsewhere: Elsewhere) -> None:
    relay(*[event("x") for _ in range(5)])
    elsewhere(lambda adapters: adapters.history.trim(1_000_000))
    relay(event("x"), event("y"), event("x"))
    assert detail(client, "x")["complete"] is True
    elsewhere(lambda adapters: adapters.history.trim(1_000_000 + HistoryLimits().journal_age_s + 1))
    body = detail(client, "x")
    assert body["complete"] is False
    assert body["execution"]["events"] == 7
    assert [event["offsets"]["all"] for event in body["events"]] == [6, 8]


def test_the_newest_events_are_told(client: Client, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    relay(*[event(name) for _ in range(30) for name in "xy"])
    monkeypatch.setattr(executions_api, "PAGE", 7)
    assert len(detail(client, "x")["events"]) == 30
    monkeypatch.setattr(executions_api, "MAX_EVENTS", 4)
    body = detail(client, "x")
    assert ([event["offsets"]["all"] for event in body["events"]], body["complete"]) == ([53, 55, 57, 59], False)
    monkeypatch.setattr(executions_api, "MAX_SCAN", 6)
    body = detail(client, "x")
    assert ([event["offsets"]["all"] for event in body["events"]], body["complete"]) == ([55, 57, 59], False)


# -- both --------------------------------------------------------------------------------------------------------------

PATHS = ["/api/executions", "/api/executions/x"]


@pytest.mark.parametrize("path", PATHS)
def test_a_token_is_asked_for_when_required(client: Client, relay: Relay, use: Callable[..., EventsConfig], path: str) -> None:
    relay(event("x"))
    use(auth_tokens=("secret",), require_auth=True)
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic c2VjcmV0"}):
        response = client.get(path, headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert list(response.json()) == ["message"]
    assert client.get(path, headers={"authorization": "Bearer secret"}).status_code == 200


@pytest.mark.usefixtures("redis_is_gone")
@pytest.mark.parametrize("path", PATHS)
def test_without_the_history_the_client_is_told_to_try_again(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert "cannot be read" in response.json()["message"]


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize("path", PATHS)
def test_a_process_without_a_history_says_so(client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 503
    assert "REDIS_URL" in response.json()["message"]


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_refused(client: Client, on_redis: EventsConfig, path: str) -> None:
    response = client.post(path, "{}", content_type="application/json")
    assert response.status_code == 405
    assert list(response.json()) == ["message"]
