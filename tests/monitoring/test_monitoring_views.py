"""`/health`, `/metrics` and `/status` over HTTP."""

import re
import time

import pytest
from django.test import Client

from events.conf import EventsConfig
from events.ports import Emergency
from tests.monitoring.conftest import Elsewhere, Report
from tests.monitoring.rows import row, told
from tests.redis_server import RedisServer

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def two_servers(report: Report) -> None:
    """Two server processes with three clients, and a relay."""
    now = time.time()
    first = row("s1", "web-1", workflows=2, bots=1, sent=7)
    second = row("s2", "web-2", strategies=1, sent=5, backlog_bytes=10, lagging=True)
    third = row("s3", "web-2", workflows=0, everything=True, topics=["all"], sent=0)
    counters = {"connections": 5, "sent": 12, "refused:origin": 2, "errors:unknown_command": 1}
    report(told("web-1", first, started=now - 100, at=now, counters=counters))
    report(told("web-2", second, third, started=now - 50, at=now, counters=counters))
    report(told("bus-1", kind="runbus", started=now - 500, at=now, counters={"received": 9, "rejected": 1}))


@pytest.mark.usefixtures("two_servers")
def test_metrics_cover_every_process(client: Client) -> None:
    response = client.get("/metrics")
    body = response.json()
    assert response.status_code == 200
    assert TIMESTAMP.fullmatch(body["timestamp"])
    assert 100 <= body["uptime_seconds"] < 160
    assert body["connections"] == {"current": 3, "total": 10}
    assert body["subscriptions"]["total"] == 6
    assert {"sid": "s1", "workflow_count": 2, "bot_count": 1, "strategy_count": 0} in body["subscriptions"]["by_client"]
    assert body["events"] == {"received": 9, "sent": 24, "recent_buffer": 0, "rejected": 1, "failures": 0}
    assert {process["id"]: process["clients"] for process in body["processes"]} == {"web-1": 1, "web-2": 2, "bus-1": 0}
    assert body["clients"] == {"sent": 12, "backlog_bytes": 10, "lagging": 1, "everything": 1}
    assert body["counters"]["refused"] == {"origin": 4}
    assert body["counters"]["errors"] == {"unknown_command": 2}


@pytest.mark.usefixtures("on_redis")
def test_metrics_of_nobody(client: Client) -> None:
    body = client.get("/metrics").json()
    assert body["connections"] == {"current": 0, "total": 0}
    assert body["subscriptions"] == {"total": 0, "by_client": []}
    assert body["processes"] == []


def test_metrics_without_redis_say_so(client: Client, redis_is_gone: EventsConfig) -> None:
    response = client.get("/metrics")
    assert response.status_code == 503
    assert list(response.json()) == ["message"]
    assert redis_is_gone.redis_url.removeprefix("redis://") in response.json()["message"]


@pytest.mark.usefixtures("two_servers")
def test_health_counts_the_clients_of_every_process(client: Client) -> None:
    body = client.get("/health").json()
    assert list(body) == ["status", "timestamp", "uptime_seconds", "websocket", "infrastructure", "details"]
    assert body["websocket"] == {"connected_clients": 3, "total_connections": 10}
    assert body["infrastructure"]["components"]["state"] == "healthy"
    assert body["infrastructure"]["components"]["emergency"] == "normal"


def test_health_is_200_when_everything_answers(client: Client, elsewhere: Elsewhere) -> None:
    elsewhere(lambda adapters: adapters.lease.acquire("relay", 60.0))
    response = client.get("/health")
    assert response.status_code == 200
    assert response.json()["status"] == "healthy"
    assert response.json()["details"] == {}


@pytest.mark.usefixtures("on_redis")
def test_health_without_a_relay_is_503_and_says_what_to_do(client: Client) -> None:
    response = client.get("/health")
    assert response.status_code == 503
    assert response.json()["infrastructure"]["components"]["events"] == "unhealthy"
    assert "runbus" in response.json()["details"]["events"]


def test_the_emergency_state_is_shown(client: Client, elsewhere: Elsewhere) -> None:
    elsewhere(lambda adapters: adapters.state.set_emergency(Emergency("halt", "The exchange is down.")))
    body = client.get("/health").json()
    assert body["infrastructure"]["components"]["emergency"] == "halt"
    assert body["details"]["emergency"] == "The exchange is down."


@pytest.mark.usefixtures("on_redis")
def test_health_answers_while_redis_hangs(client: Client, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # It does not wait until Redis is given up.
    monkeypatch.setattr("events.redis_link.REPLY_TIMEOUT_S", 3_600.0)
    redis_server.pause()
    try:
        response = client.get("/health")
    finally:
        redis_server.resume()
    assert response.status_code == 503
    assert response.json()["infrastructure"]["components"]["state"] == "unhealthy"


@pytest.mark.usefixtures("redis_is_gone")
def test_health_without_redis_is_503_and_says_so(client: Client) -> None:
    response = client.get("/health")
    assert response.status_code == 503
    assert response.json()["status"] == "unhealthy"
    assert response.json()["infrastructure"]["components"]["state"] == "unhealthy"
    assert "Redis" in response.json()["details"]["state"]


@pytest.mark.usefixtures("embedded")
def test_health_without_a_server_in_the_process_is_503_and_says_so(client: Client) -> None:
    response = client.get("/health")
    assert response.status_code == 503
    assert response.json()["infrastructure"]["status"] == "unhealthy"
    assert all(response.json()["details"].values())
    assert response.json()["details"]


def test_status(client: Client) -> None:
    body = client.get("/status").json()
    assert list(body) == ["status", "server", "timestamp"]
    assert (body["status"], body["server"]) == ("ok", "workflow-websocket-server")
    assert TIMESTAMP.fullmatch(body["timestamp"])


@pytest.mark.usefixtures("on_redis")
@pytest.mark.parametrize("path", ["/health", "/metrics", "/status"])
def test_every_way_of_asking(client: Client, path: str) -> None:
    """With a slash, by HEAD, and for something else than JSON: a probe gets its answer, and nobody may cache it."""
    plain = client.get(path)
    slashed = client.get(f"{path}/", headers={"accept": "text/html"})
    head = client.head(path)
    assert plain.status_code == slashed.status_code == head.status_code
    assert {answer.headers["Cache-Control"] for answer in (plain, slashed, head)} == {"no-store"}
    assert slashed.headers["Content-Type"] == "application/json"
    assert head.content == b""


@pytest.mark.parametrize("path", ["/health", "/metrics", "/status"])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_other_methods_are_refused(client: Client, path: str, method: str) -> None:
    response = getattr(client, method)(path)
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]
