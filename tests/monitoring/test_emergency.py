"""Setting the emergency state over HTTP and by command, and who may."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from events.conf import EventsConfig
from events.emergency import emergency


def post(client: Client, body: Any, **headers: str) -> Any:
    return client.post("/api/emergency", body, "application/json", headers=headers)


@pytest.mark.usefixtures("on_redis")
def test_what_is_set_is_kept_and_shown(client: Client) -> None:
    assert client.get("/api/emergency").json() == {"state": "normal", "reason": "", "since": None}
    answer = post(client, {"state": "halt", "reason": " exchange maintenance "})
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["reason"]) == ("halt", "exchange maintenance")
    assert client.get("/api/emergency/").json() == answer.json()
    assert client.get("/health").json()["details"]["emergency"] == "exchange maintenance"


@pytest.mark.usefixtures("on_redis")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"state": "panic", "reason": "x"}, "state"),
        ({"reason": "x"}, "state"),
        ({"state": "halt"}, "reason"),
        ({"state": "halt", "reason": "  "}, "reason"),
        ({"state": "halt", "reason": 7}, "reason"),
        ({"state": "alert", "reason": "x" * 501}, "reason"),
        ([], "state"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(client: Client, body: Any, field: str) -> None:
    answer = post(client, body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert emergency().state == "normal"


def test_it_takes_the_scope_operate(client: Client, use: Any, on_redis: EventsConfig) -> None:
    use(auth_tokens=("secret",), require_auth=True)
    body = {"state": "alert", "reason": "drill"}
    assert client.get("/api/emergency").status_code == 401
    assert post(client, body).status_code == 401
    assert post(client, body, authorization="Bearer secret").status_code == 200
    assert client.get("/api/emergency", headers={"authorization": "Bearer secret"}).json()["state"] == "alert"


@pytest.mark.usefixtures("redis_is_gone")
def test_without_redis_it_says_so(client: Client) -> None:
    assert post(client, {"state": "halt", "reason": "x"}).status_code == 503


@pytest.mark.usefixtures("on_redis")
def test_the_command_shows_and_sets(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("emergency")
    assert capsys.readouterr().out == "normal\n"
    call_command("emergency", "shutdown", reason="the end")
    assert "shutdown since" in capsys.readouterr().out
    assert emergency().reason == "the end"
    with pytest.raises(CommandError, match="reason is missing"):
        call_command("emergency", "halt")
    call_command("emergency", "normal")
    assert emergency().state == "normal"


@pytest.mark.usefixtures("embedded")
def test_the_command_beside_an_embedded_server_says_what_to_use() -> None:
    with pytest.raises(CommandError, match="POST /api/emergency"):
        call_command("emergency")
