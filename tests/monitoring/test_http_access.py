"""Who may call which path: nobody without a token where one is required, a token what its scopes say, staff with a login."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events.access import store
from events.conf import AccessLimits, EventsConfig
from events.ports import Emergency, Unavailable
from events.stats import WITHHELD
from tests.monitoring.conftest import Elsewhere

EVENT = {"type": "t", "execution_id": "x", "workflow_id": "w", "timestamp": "2026-01-24T10:00:00Z"}

GUARDED = ["/metrics", "/metrics/", "/api/executions", "/api/executions/x"]
DOCUMENTATION = ["/api/schema", "/api/docs"]


@pytest.fixture(autouse=True)
def required(on_redis: EventsConfig, use: Callable[..., EventsConfig]) -> None:
    use(auth_tokens=("secret",), require_auth=True)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", GUARDED)
def test_nobody_gets_in_without_a_token(client: Client, path: str) -> None:
    for headers in ({}, bearer("wrong"), {"authorization": "Basic c2VjcmV0"}):
        response = client.get(path, headers=headers)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert list(response.json()) == ["message"]
    assert client.get(path, headers=bearer("secret")).status_code in (200, 404)


def test_what_balancers_ask_stays_open(client: Client) -> None:
    assert client.get("/status").status_code == 200
    assert client.get("/health").json()["websocket"] == {"connected_clients": 0, "total_connections": 0}


def reasons(client: Client, headers: dict[str, str]) -> tuple[dict[str, str], str]:
    """What `/health` and `/health/ready` tell of a server without a relay; that they tell it as 503."""
    health, ready = (client.get(path, headers=headers) for path in ("/health", "/health/ready"))
    assert (health.status_code, ready.status_code) == (503, 503)
    assert health.json()["infrastructure"]["components"] == {"state": "healthy", "events": "unhealthy", "emergency": "halt"}
    return health.json()["details"], ready.json()["reason"]


@pytest.fixture
def halted(elsewhere: Elsewhere) -> None:
    elsewhere(lambda adapters: adapters.state.set_emergency(Emergency("halt", "Database db-7 is full.")))


@pytest.mark.usefixtures("halted", "db")
def test_the_reasons_of_health_are_for_those_who_may_read_metrics(client: Client) -> None:
    _, narrow = store.create("narrow", ["all"])
    for headers in ({}, bearer("wrong"), bearer(narrow), {"authorization": "Basic c2VjcmV0"}):
        assert reasons(client, headers) == ({"events": WITHHELD, "emergency": WITHHELD}, WITHHELD)
    details, reason = reasons(client, bearer("secret"))
    assert details == {"events": reason, "emergency": "Database db-7 is full."}
    assert "runbus" in reason


@pytest.mark.usefixtures("halted")
def test_staff_reads_the_reasons_of_health(operator: Client) -> None:
    assert "runbus" in reasons(operator, {})[1]


@pytest.mark.usefixtures("halted")
def test_health_answers_when_a_token_cannot_be_checked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(token: str) -> None:
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr(store, "find", unavailable)
    assert reasons(client, bearer(store.PREFIX + "_" + "0" * 16 + "_" + "x" * 43))[1] == WITHHELD


@pytest.mark.parametrize("path", GUARDED)
def test_staff_gets_in_with_a_login(operator: Client, path: str) -> None:
    assert operator.get(path).status_code in (200, 404)


@pytest.mark.parametrize("path", GUARDED)
def test_a_login_that_is_no_staff_is_worth_nothing(client: Client, db: None, path: str) -> None:
    client.force_login(User.objects.create_user("customer"))
    assert client.get(path).status_code == 401


def test_a_login_publishes_with_the_csrf_token_only(db: None) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_superuser("operator"))

    def publish(**headers: str) -> int:
        return browser.post("/api/events", json.dumps(EVENT), "application/json", headers=headers).status_code

    assert publish() == 403
    assert publish(**bearer("secret")) == 202
    browser.get("/admin/password_change/")
    token = browser.cookies["csrftoken"].value
    assert publish(**{"x-csrftoken": token}) == 202
    assert publish(**{"x-csrftoken": token[::-1]}) == 403


def test_the_documentation_is_for_those_who_may_call_something(client: Client, operator: Client) -> None:
    assert [operator.get(path).status_code for path in DOCUMENTATION] == [200, 200]
    operator.logout()
    assert client.get("/api/schema").status_code == 401
    assert client.get("/api/schema", headers=bearer("secret")).status_code == 200
    assert client.get("/api/docs").headers["Location"] == "/admin/login/?next=/api/docs"


def test_staff_without_the_permission_may_look_and_not_publish(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("reader", is_staff=True))
    assert client.get("/api/executions").status_code == 200
    response = client.post("/api/events", json.dumps(EVENT), "application/json")
    assert response.status_code == 403
    assert response.json() == {
        "message": "The scope publish is needed for that; your token or login does not have it.",
        "code": "insufficient_scope",
        "needed": "publish",
    }


def test_who_guesses_passwords_has_to_wait_and_nobody_else(client: Client, db: None, use: Callable[..., Any]) -> None:
    use(access=AccessLimits(auth_failures=2))
    User.objects.create_superuser("operator", password="right")

    def log_in(password: str, address: str = "192.0.2.1") -> Any:
        form = {"username": "operator", "password": password}
        return client.post("/admin/login/?next=/admin/", form, REMOTE_ADDR=address)

    for _ in range(3):
        assert "Please enter the correct username" in log_in("wrong").content.decode()
        # Who tries nothing makes nothing good.
        assert log_in("").status_code == 200
    assert "Too many wrong passwords came from your address" in log_in("right").content.decode()
    assert log_in("right", "192.0.2.2").status_code == 302


@pytest.mark.parametrize(
    "page", ["https://evil.example.com/", "//evil.example.com/", "/\\evil.example.com/", "javascript:alert(1)"]
)
def test_the_login_leads_nowhere_else(client: Client, db: None, page: str) -> None:
    User.objects.create_superuser("operator", password="right")
    form = {"username": "operator", "password": "right", "next": page}
    assert client.post("/admin/login/", form).headers["Location"] == "/admin/"


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    "path", [*GUARDED, *DOCUMENTATION, "/api/emergency", "/api/events", "/health", "/health/ready", "/status"]
)
def test_no_cache_keeps_an_answer_and_no_page_frames_it(client: Client, operator: Client, path: str) -> None:
    for asking, headers in ((client, {}), (client, bearer("secret")), (operator, {})):
        response = asking.get(path, headers=headers)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
