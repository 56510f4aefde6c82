"""`POST /api/events`, down to the Redis Stream."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from redis import Redis

from events.api import MAX_EVENTS
from events.conf import EventsConfig
from events.domain.event import EventLimits
from tests.redis_server import RedisServer

EVENT = {
    "type": "node_started",
    "execution_id": "exec_1",
    "workflow_id": "arb_btc_001",
    "timestamp": "2026-01-24T10:00:00.000Z",
}
JSON = "application/json"

Published = Callable[[], list[tuple[str, bytes]]]


@pytest.fixture
def published(on_redis: EventsConfig, redis_server: RedisServer) -> Published:
    """What is on the bus: ids and documents."""

    def read() -> list[tuple[str, bytes]]:
        with Redis.from_url(redis_server.url) as redis:
            return [(name.decode(), fields[b"event"]) for name, fields in redis.xrange(on_redis.bus_name)]

    return read


def post(client: Client, body: Any, *, path: str = "/api/events", content_type: str = JSON, **headers: str) -> Any:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return client.post(path, data, content_type=content_type, headers=headers)


@pytest.mark.parametrize("path", ["/api/events", "/api/events/"])
def test_one_event(client: Client, published: Published, path: str) -> None:
    response = post(client, EVENT, path=path)
    assert response.status_code == 202
    assert response.json() == {"accepted": 1, "ids": [name for name, _ in published()]}
    assert [json.loads(document) for _, document in published()] == [EVENT]


def test_a_list_keeps_its_order(client: Client, published: Published) -> None:
    events = [{**EVENT, "number": number} for number in range(1000)]
    response = post(client, events)
    assert response.status_code == 202
    assert response.json() == {"accepted": 1000, "ids": [name for name, _ in published()]}
    assert [json.loads(document) for _, document in published()] == events


def test_the_text_of_an_event_is_not_touched(client: Client, published: Published) -> None:
    fields = json.dumps(EVENT)[1:-1]
    odd = f'{{{fields}, "price": 1.10, "big": 12345678901234567890123456780, "text": "\\u00e9 [,]", "list": [ {{ }} , [1,2] ]}}'
    assert post(client, f" {odd}\n").status_code == 202
    assert post(client, f" [ {odd} ,\n{odd}\t] ").status_code == 202
    assert [document for _, document in published()] == [odd.encode()] * 3


@pytest.mark.parametrize("name", ["type", "execution_id", "workflow_id", "timestamp"])
def test_a_missing_field_is_named(client: Client, published: Published, name: str) -> None:
    event = {key: value for key, value in EVENT.items() if key != name}
    response = post(client, event)
    assert response.status_code == 400
    assert response.json() == {
        "message": f"Nothing was published. {name} is missing.",
        "errors": [{"index": 0, "field": name, "message": f"{name} is missing."}],
    }
    assert published() == []


def test_one_bad_event_refuses_the_list(client: Client, published: Published) -> None:
    response = post(client, [EVENT, {**EVENT, "bot_id": 5}, EVENT, 7])
    assert response.status_code == 400
    assert response.json()["message"] == "Nothing was published: 2 of 4 events are refused. Event 1: bot_id must be a string."
    assert [(error["index"], error["field"]) for error in response.json()["errors"]] == [(1, "bot_id"), (3, "event")]
    assert published() == []


@pytest.mark.parametrize(
    "body",
    [
        b"  ",
        b"[",
        b"[]",
        b"[1,]",
        b"[1 2]",
        b"[{}] x",
        b"[,]",
        b"{",
        b"{}",
        b"7",
        b"null",
        b'"text"',
        b"\xff",
        b"[\xff]",
        b'["\xff"]',
        b"[" * 100_000,
        b"{" * 100_000,
        b"[NaN]",
        b"[" + b"9" * 10_000 + b"]",
        b"\xef\xbb\xbf{}",
        b"\x00",
        b"[" + b"{}," * 1000 + b"{}]",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_events_is_refused_with_a_message(client: Client, published: Published, body: bytes) -> None:
    response = post(client, body)
    assert response.status_code == 400
    assert list(response.json()) == ["message", "errors"]
    assert response.json()["message"].endswith(".")
    assert published() == []


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_another_content_type_is_refused(client: Client, published: Published, content_type: str) -> None:
    response = post(client, json.dumps(EVENT), content_type=content_type)
    assert response.status_code == 415
    assert "Content-Type: application/json" in response.json()["message"]
    assert published() == []


def test_a_list_is_read_no_further_than_the_events_that_are_taken(client: Client, published: Published) -> None:
    # What comes after them is not even JSON.
    response = post(client, b"[" + b"0," * (MAX_EVENTS + 1) + b"never read")
    assert response.status_code == 400
    assert f"more than {MAX_EVENTS} events" in response.json()["message"]
    assert published() == []


def test_a_charset_is_fine(client: Client, published: Published) -> None:
    assert post(client, EVENT, content_type="Application/JSON; charset=utf-8").status_code == 202
    assert len(published()) == 1


def test_a_body_that_is_too_large_is_refused(client: Client, published: Published, use: Any, settings: Any) -> None:
    use(event=EventLimits(max_bytes=1_000))
    settings.MAX_EVENTS_BYTES = 2_000
    response = post(client, [{**EVENT, "text": "x" * 900}] * 3)
    assert response.status_code == 413
    message = response.json()["message"]
    assert "2000 bytes" in message
    assert "WS_MAX_EVENT_BYTES" in message
    assert published() == []


def test_an_event_within_its_own_limit_always_fits(client: Client, published: Published, use: Any, settings: Any) -> None:
    settings.MAX_EVENTS_BYTES = 1_000
    assert post(client, {**EVENT, "text": "x" * 5_000}).status_code == 202
    use(event=EventLimits(max_bytes=2_000))
    response = post(client, {**EVENT, "text": "x" * 5_000})
    assert response.status_code == 413
    assert len(published()) == 1


def test_a_token_is_asked_for_when_required(client: Client, published: Published, use: Any) -> None:
    use(auth_tokens=("secret", "next"), require_auth=True)
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic c2VjcmV0"},
        {"authorization": "Bearer \xe9"},
    ):
        response = post(client, EVENT, **headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert list(response.json()) == ["message"]
    assert published() == []
    assert post(client, EVENT, authorization="Bearer secret").status_code == 202
    assert post(client, EVENT, authorization="bearer  next").status_code == 202


def test_a_token_that_nobody_asked_for_does_no_harm(client: Client, published: Published) -> None:
    assert post(client, EVENT, authorization="Bearer anything").status_code == 202
    assert len(published()) == 1


def test_no_csrf_token_is_needed(published: Published) -> None:
    assert post(Client(enforce_csrf_checks=True), EVENT).status_code == 202
    assert len(published()) == 1


@pytest.mark.usefixtures("redis_is_gone")
def test_without_the_bus_the_publisher_is_told_to_try_again(client: Client) -> None:
    response = post(client, EVENT)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert list(response.json()) == ["message"]


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_other_methods_are_refused(client: Client, method: str) -> None:
    response = getattr(client, method)("/api/events")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert list(response.json()) == ["message"]
