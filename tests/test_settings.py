"""`wsproject/settings.py`: what the variables become."""

import runpy
from ipaddress import ip_network
from typing import Any

import pytest

from events.conf import AccessLimits, EventsConfig, HistoryLimits, JwtConfig, SessionLimits
from events.domain.event import EventLimits
from tests.conftest import ROOT


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The settings that a process with the given variables would have."""

    def read_settings(**variables: str) -> dict[str, Any]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "wsproject" / "settings.py"))

    return read_settings


def test_without_variables_the_defaults_are_those_of_the_packages(read: Any) -> None:
    assert read()["EVENTS"] == EventsConfig()


def test_every_variable_of_the_events_arrives(read: Any) -> None:
    found = read(
        REDIS_URL="redis://h:1/2",
        WS_REDIS_PREFIX="p",
        WS_BUS_NAME="b",
        WS_BUS_INPUTS="pubsub",
        WS_BUS_MAX_EVENTS="1001",
        WS_DELIVERY_INTERVAL_MS="25",
        WS_AUTH_TOKEN="one, two",
        WS_CORS_ALLOWED_ORIGINS="https://a.example,http://b.example:81",
        WS_PING_INTERVAL_MS="300",
        WS_PING_TIMEOUT_MS="200",
        WS_MAX_PAYLOAD_BYTES="2000",
        WS_MAX_EVENT_BYTES="3000",
        WS_MAX_ID_LENGTH="40",
        WS_MAX_RECENT_EVENTS="5",
        WS_RECENT_TTL_S="6",
        WS_JOURNAL_MAX_EVENTS="700",
        WS_JOURNAL_MAX_AGE_S="8",
        WS_OFFSET_TTL_S="9",
        WS_MAX_DEAD_LETTERS="10",
        WS_DEAD_LETTER_BYTES="70000",
        WS_MAX_EXECUTIONS="13",
        WS_MAX_TOPIC_EXECUTIONS="14",
        WS_EXECUTION_TTL_S="15",
        WS_CLIENT_BUFFER_BYTES="65536",
        WS_SLOW_CLIENT_DEADLINE_S="1.5",
        WS_MAX_SUBSCRIPTIONS="12",
        WS_JWT_SECRET="j",
        WS_JWT_PUBLIC_KEY="k",
        WS_JWT_ALGORITHMS="RS256,ES256",
        WS_JWT_AUDIENCE="a, b",
        WS_JWT_ISSUER="i",
        WS_JWT_SCOPE_CLAIM="permissions",
        WS_JWT_LEEWAY_S="2.5",
        WS_CLIENT_MESSAGES_PER_S="17",
        WS_MAX_CONNECTIONS="18",
        WS_MAX_CONNECTIONS_PER_ADDRESS="19",
        WS_NEW_CONNECTIONS_PER_S="19.5",
        WS_MAX_CONNECTIONS_PER_TOKEN="20",
        WS_MAX_HEADER_BYTES="2048",
        WS_REQUEST_TIMEOUT_S="2.1",
        WS_AUTH_TIMEOUT_S="2.2",
        WS_MAX_AUTH_FAILURES="23",
        WS_PUBLISH_EVENTS_PER_S="24",
        WS_PROXY_HEADERS="1",
        WS_TRUSTED_PROXIES="10.1.2.3/8,::1",
        DEMO="1",
        DEMO_RATE="2.5",
    )
    assert found["EVENTS"] == EventsConfig(
        redis_url="redis://h:1/2",
        redis_prefix="p",
        bus_name="b",
        bus_inputs=("pubsub",),
        bus_events=1001,
        delivery_interval_ms=25,
        auth_tokens=("one", "two"),
        jwt=JwtConfig("j", "k", ("RS256", "ES256"), ("a", "b"), ("i",), "permissions", 2.5),
        require_auth=True,
        allowed_origins=("https://a.example", "http://b.example:81"),
        ping_interval_ms=300,
        ping_timeout_ms=200,
        max_payload_bytes=2000,
        demo=True,
        demo_rate=2.5,
        event=EventLimits(max_bytes=3000, max_id_length=40),
        history=HistoryLimits(5, 6, 700, 8, 9, 10, 70_000, 13, 14, 15),
        session=SessionLimits(65_536, 1.5, 12, 40, 17),
        access=AccessLimits(18, 19, 19.5, 20, 2_048, 2.1, 2.2, 23, 24),
        trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("::1")),
    )
    assert found["DAPHNE_WEBSOCKET_MAX_FRAME_SIZE"] > 2000
    assert found["UNKNOWN_VARIABLES"] == {}


def test_a_token_means_that_authentication_is_required_unless_said_otherwise(read: Any) -> None:
    assert read(WS_AUTH_TOKEN="t")["EVENTS"].require_auth
    assert not read(WS_REQUIRE_AUTH="no")["EVENTS"].require_auth


@pytest.mark.parametrize("token", ["", ","])
def test_production_asks_for_tokens_unless_it_is_told_outright_not_to(read: Any, token: str) -> None:
    assert not read(WS_AUTH_TOKEN=token)["EVENTS"].require_auth
    assert read(ENV="production", WS_AUTH_TOKEN=token)["EVENTS"].require_auth
    assert not read(ENV="production", WS_AUTH_TOKEN=token, WS_REQUIRE_AUTH="false")["EVENTS"].require_auth


def test_nothing_that_production_needs_is_missed_by_an_import(read: Any) -> None:
    found = read(ENV="production")
    assert (found["SECRET_KEY"], found["REDIS_URL"], found["DEBUG"]) == ("", "", False)
    assert "*" not in found["ALLOWED_HOSTS"]
    assert found["EVENTS"].allowed_origins == ()


def test_production_collects_hashed_files_and_writes_json(read: Any) -> None:
    found = read(ENV="production")
    assert "Manifest" in found["STORAGES"]["staticfiles"]["BACKEND"]
    assert not found["WHITENOISE_USE_FINDERS"]
    assert found["SESSION_COOKIE_SECURE"]
    assert found["SECURE_HSTS_SECONDS"] > 0
    assert not found["SECURE_SSL_REDIRECT"]


def test_the_channel_layer_follows_redis(read: Any) -> None:
    assert "InMemory" in read()["CHANNEL_LAYERS"]["default"]["BACKEND"]
    layer = read(REDIS_URL="redis://h:1/2", WS_REDIS_PREFIX="p")["CHANNEL_LAYERS"]["default"]
    assert layer["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert layer["CONFIG"]["prefix"] == "p"
    assert layer["CONFIG"]["hosts"][0]["address"] == "redis://h:1/2"


def test_a_misspelt_variable_is_kept_for_the_checks(read: Any) -> None:
    assert read(WS_AUTH_TOKENS="t")["UNKNOWN_VARIABLES"] == {"WS_AUTH_TOKENS": "WS_AUTH_TOKEN"}


def test_secrets_are_not_in_the_representation(read: Any) -> None:
    found = read(WS_AUTH_TOKEN="hunter2", REDIS_URL="redis://:hunter3@h:1/2")["EVENTS"]
    assert found.redis_url
    assert "hunter" not in repr(found)
