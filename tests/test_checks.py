"""System checks: what is refused, what is warned of, and that each says how to mend it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from pytest_django import Settings

from events.checks import check_configuration, configuration_errors, describe
from events.conf import EventsConfig, JwtConfig
from tests.conftest import manage

TOKEN = "0123456789abcdef"


@pytest.fixture
def production(settings: Settings, tmp_path: Path) -> Settings:
    """A production configuration that nothing can be said against."""
    (tmp_path / "staticfiles.json").write_text("{}")
    (tmp_path / "vendor" / "socket.io-client").mkdir(parents=True)
    settings.PRODUCTION = True
    settings.SECRET_KEY = "k" * 64
    settings.ALLOWED_HOSTS = ["ws.example.com", *settings.LOCAL_HOSTS]
    settings.STATIC_ROOT = tmp_path
    settings.EVENTS = EventsConfig(
        redis_url="redis://localhost", auth_tokens=(TOKEN,), require_auth=True, allowed_origins=("https://dash.example.com",)
    )
    return settings


def found() -> list[str | None]:
    return [message.id for message in check_configuration()]


def test_development_needs_nothing() -> None:
    assert found() == []


@pytest.mark.usefixtures("production")
def test_a_good_production_configuration_has_no_messages() -> None:
    assert found() == []


def test_everything_that_is_missing_is_reported_at_once(production: Settings) -> None:
    production.SECRET_KEY = ""
    production.ALLOWED_HOSTS = list(production.LOCAL_HOSTS)
    production.EVENTS = EventsConfig(require_auth=True, allowed_origins=())
    assert [error.id for error in configuration_errors()] == ["events.E001", "events.E002", "events.E004"]


EVENTS_CASES: list[tuple[dict[str, Any], str]] = [
    ({"redis_url": ""}, "events.E002"),
    ({"auth_tokens": ()}, "events.W010"),
    ({"auth_tokens": (), "require_auth": False}, "events.W001"),
    ({"require_auth": False}, "events.W001"),
    ({"auth_tokens": (TOKEN, "short")}, "events.E007"),
    ({"trusted_proxies": ()}, "events.W014"),
    ({"jwt": JwtConfig(secret="short", audience=("events",))}, "events.E005"),
    ({"jwt": JwtConfig(secret="s" * 32)}, "events.W011"),
    ({"demo": True}, "events.W007"),
    ({"allowed_origins": ("*",)}, "events.W008"),
]


@pytest.mark.parametrize(("change", "expected"), EVENTS_CASES)
def test_each_weakness_has_its_id(production: Settings, change: dict[str, Any], expected: str) -> None:
    production.EVENTS = replace(production.EVENTS, **change)
    assert found() == [expected]


@pytest.mark.parametrize(("length", "expected"), [(15, "events.E006"), (16, "events.W003"), (31, "events.W003")])
def test_a_short_secret_key_is_warned_of_and_one_that_can_be_guessed_refused(
    production: Settings, length: int, expected: str
) -> None:
    production.SECRET_KEY = "k" * length
    assert found() == [expected]


def test_a_token_that_can_be_guessed_is_warned_of_in_development(settings: Settings) -> None:
    settings.EVENTS = EventsConfig(auth_tokens=("short",), require_auth=True)
    assert found() == ["events.W002"]


def test_any_name_for_the_server_is_warned_of(production: Settings) -> None:
    production.ALLOWED_HOSTS = ["*", *production.LOCAL_HOSTS]
    assert found() == ["events.W013"]


def test_files_that_are_not_collected_are_warned_of(production: Settings) -> None:
    (production.STATIC_ROOT / "staticfiles.json").unlink()
    assert found() == ["events.W006"]


def test_authentication_without_a_token_is_warned_of_in_development_too(settings: Settings) -> None:
    settings.EVENTS = EventsConfig(require_auth=True)
    assert found() == ["events.W010"]


def test_workers_need_a_redis_to_meet_in(settings: Settings) -> None:
    settings.WS_WORKERS = 2
    settings.EVENTS = EventsConfig()
    assert found() == ["events.E010"]
    settings.EVENTS = EventsConfig(redis_url="redis://127.0.0.1:6379/0")
    assert found() == []


def test_workers_behind_a_proxy_are_warned_of(settings: Settings) -> None:
    settings.EVENTS = EventsConfig(redis_url="redis://127.0.0.1:6379/0")
    settings.WS_PROXY_HEADERS = True
    assert found() == []
    settings.WS_WORKERS = 2
    assert found() == ["events.W012"]


def test_a_missing_browser_client_is_warned_of(settings: Settings, tmp_path: Path) -> None:
    settings.SOCKET_IO_CLIENT = tmp_path / "missing"
    (message,) = check_configuration()
    assert (message.id, message.hint) == ("events.W004", "Run `make install`.")


def test_a_misspelt_variable_is_warned_of(settings: Settings) -> None:
    settings.UNKNOWN_VARIABLES = {"WS_AUTH_TOKENS": "WS_AUTH_TOKEN", "WS_OTHER": ""}
    assert [message.id for message in run_checks(tags=["configuration"])] == ["events.W005", "events.W005"]
    assert "Did you mean WS_AUTH_TOKEN?" in describe(check_configuration())


def test_a_silenced_error_does_not_forbid_to_start(production: Settings) -> None:
    production.EVENTS = replace(production.EVENTS, redis_url="")
    production.SILENCED_SYSTEM_CHECKS = ["events.E002"]
    assert configuration_errors() == []


def test_no_message_repeats_a_token(production: Settings) -> None:
    production.EVENTS = replace(production.EVENTS, auth_tokens=("hunter2",))
    assert "hunter2" not in describe(check_configuration())


def test_commands_refuse_an_unsafe_production_configuration() -> None:
    done = manage("migrate", ENV="production", WS_REQUIRE_AUTH="1")
    assert done.returncode == 1
    for expected in ("events.E001", "events.E002", "events.W010", "events.E004"):
        assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_bootstrap_prepares_the_database_and_says_so_once(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/db.sqlite3"
    first, second = manage("bootstrap", DATABASE_URL=database), manage("bootstrap", DATABASE_URL=database)
    assert first.stdout == "Created the development user admin with the password admin.\n", first.stderr
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
