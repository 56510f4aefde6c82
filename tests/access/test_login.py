"""The admin's login, beside what `tests/monitoring/test_http_access.py` has of it."""

from dataclasses import replace
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.test import Client
from structlog.testing import capture_logs

from events.access import login as module

PASSWORD: Final = "sesame-0123456789"


@pytest.fixture
def page(db: None, client: Client, settings: Any) -> Any:
    """What the page says, or its status when it leads on, after a login from an address."""
    settings.EVENTS = replace(settings.EVENTS, require_auth=True)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    User.objects.create_superuser("ann", password=PASSWORD)

    def log_in(password: str) -> str:
        answer = client.post("/admin/login/", {"username": "ann", "password": password}, REMOTE_ADDR="198.51.100.1")
        return answer.content.decode() or str(answer.status_code)

    return log_in


def test_the_log_says_from_where_a_password_was_wrong_and_nothing_that_was_typed(page: Any) -> None:
    with capture_logs() as entries:
        page("guess")
        page("")
    assert [(entry["event"], entry["address"]) for entry in entries] == [("login_failed", "198.51.100.1")]
    assert "guess" not in str(entries)


def test_passwords_are_checked_one_at_a_time(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_S", 0.01)
    with module._ONE_AT_A_TIME:
        assert module.BUSY in page(PASSWORD)
    assert page(PASSWORD) == "302"


@pytest.mark.usefixtures("db")
def test_a_form_that_is_too_large_is_not_read(client: Client) -> None:
    form = "username=ann&password=" + "x" * 2_700_000
    with capture_logs() as entries:
        assert client.post("/admin/login/", form, "application/x-www-form-urlencoded").status_code == 400
    assert entries == []
