"""Access tokens: in the database by their hash, found by their id, worth nothing after their end."""

import hashlib
import hmac
import json
import re
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from events.access import store
from events.access.identify import identify
from events.access.models import AccessToken, RevokedLogin
from events.access.refusal import Reason, TokenRefused
from events.access.shared import shared_grant
from events.conf import EventsConfig
from events.domain.grants import Grant
from events.ports import Unavailable

pytestmark = pytest.mark.django_db


def login_id(name: str) -> str:
    return f"jwt-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


ONE, ANOTHER, UNKNOWN, OVER = map(login_id, ("one", "another", "unknown", "over"))


def refusal(text: str) -> Reason:
    with pytest.raises(TokenRefused) as found:
        identify(text, EventsConfig(auth_tokens=("shared",)))
    return found.value.reason


def everything_stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM access_accesstoken")
        return repr(cursor.fetchall())


def test_a_token_is_found_and_its_secret_is_nowhere() -> None:
    end = timezone.now() + timedelta(days=1)
    token, text = store.create("dashboard", ["workflow:arb_*", "metrics"], end)
    assert store.find(text) == Grant(token.pk, "dashboard", ("workflow:arb_*",), metrics=True, expires_at=end.timestamp())
    assert text.startswith(f"wst_{token.pk}_")
    secret = text.rpartition(token.pk)[2]
    assert secret not in everything_stored() + repr(token) + repr(vars(token))
    assert hashlib.sha256(text.encode()).hexdigest() in everything_stored()
    assert store.create("other", ["all"])[1][-43:] != text[-43:]


def test_what_is_nearly_a_token_is_none() -> None:
    token, text = store.create("t", ["all"])
    nearly = [
        text[:-1] + ("A" if text[-1] != "A" else "B"),
        text + "A",
        text[:-1],
        f"wst_{token.pk}_",
        token.pk,
        token.digest,
        "",
    ]
    assert [refusal(candidate) for candidate in nearly] == [Reason.INVALID] * len(nearly)
    AccessToken.objects.all().delete()
    assert refusal(text) is Reason.INVALID


@pytest.mark.parametrize("kind", ["shared", "access"])
def test_secrets_are_compared_in_constant_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons are counted: each candidate meets each secret in `compare_digest`, and none is skipped when one was right."""
    text = store.create("t", ["all"])[1]
    compared: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    if kind == "shared":
        assert shared_grant("one", EventsConfig(auth_tokens=("one", "two", "three"))) is not None
        assert compared == [(b"one", b"one"), (b"one", b"two"), (b"one", b"three")]
    else:
        store.find(text)
        assert len(compared) == 1


def test_revoked_and_expired() -> None:
    token, text = store.create("t", ["all"])
    store.revoke(token.pk)
    first = AccessToken.objects.get().revoked_at
    store.revoke(token.pk)
    assert AccessToken.objects.get().revoked_at == first
    assert refusal(text) is Reason.REVOKED
    late, late_text = store.create("late", ["all"], timezone.now())
    assert refusal(late_text) is Reason.EXPIRED
    good, _ = store.create("good", ["bot:b"])
    found = store.current([token.pk, late.pk, good.pk, "gone", ONE])
    assert found == {
        token.pk: Reason.REVOKED,
        late.pk: Reason.EXPIRED,
        good.pk: Grant(good.pk, "good", ("bot:b",)),
        "gone": Reason.REVOKED,
    }
    store.revoke(ONE)
    assert store.current([ONE, login_id("two")]) == {ONE: Reason.REVOKED}
    with pytest.raises(TokenRefused):
        store.check_login(Grant.of(ONE, "n", ["all"]))


def test_a_revoked_login_is_known_for_as_long_as_it_would_have_lasted() -> None:
    now, kept = time.time(), store.KEPT_AFTER_END.total_seconds()
    ends = {UNKNOWN: None, login_id("valid"): now + 60, login_id("leeway"): now - kept + 60, OVER: now - kept - 60}
    for token_id, end in ends.items():
        store.revoke(token_id)
        # Whoever uses it knows its end.
        with pytest.raises(TokenRefused):
            store.check_login(Grant.of(token_id, "n", ["all"], end))
    assert RevokedLogin.objects.count() == 4
    store.revoke(ANOTHER)
    assert set(RevokedLogin.objects.values_list("pk", flat=True)) == {*ends, ANOTHER} - {OVER}


def test_what_has_ended_is_forgotten() -> None:
    for seconds in (-60, 60):
        session = SessionStore()
        session.set_expiry(seconds)
        session.create()
    for token_id, expires_at in {OVER: timezone.now() - timedelta(days=1), UNKNOWN: None}.items():
        RevokedLogin.objects.create(token_id=token_id, expires_at=expires_at)
    store.forget_ended()
    assert [found.session_key for found in Session.objects.all()] == [session.session_key]
    assert [found.pk for found in RevokedLogin.objects.all()] == [UNKNOWN]


def test_the_use_of_a_revoked_login_is_written_once(django_assert_num_queries: Any) -> None:
    store.revoke(ONE)
    for queries in (2, 1, 1):
        with django_assert_num_queries(queries), pytest.raises(TokenRefused):
            store.check_login(Grant.of(ONE, "n", ["all"], time.time() + 60))


#: The first is made up; the others are nearly an id.
NO_LOGIN_IDS = [(text, "jwt- and 24") for text in ("jwt-doesnotexist", ONE[:-1], ONE + "0", ONE.upper(), f"{ONE}\n", "garbage")]


@pytest.mark.parametrize(("token_id", "mend"), [("shared-1", "WS_AUTH_TOKEN"), ("nobody", "token list"), *NO_LOGIN_IDS])
def test_what_cannot_be_revoked_says_why(token_id: str, mend: str) -> None:
    with pytest.raises(store.UnknownToken, match=mend):
        store.revoke(token_id)
    assert not RevokedLogin.objects.exists()


def test_the_last_use_is_noted_once_a_minute() -> None:
    token, text = store.create("t", ["all"])

    def used() -> datetime | None:
        return AccessToken.objects.get().last_used_at

    store.find(text)
    first = used()
    assert first is not None
    store.find(text)
    assert used() == first
    AccessToken.objects.update(last_used_at=first - timedelta(seconds=61))
    store.find(text)
    assert used() not in (None, first, first - timedelta(seconds=61))
    assert token.last_used_at is None


def test_a_database_without_the_table_is_unavailable() -> None:
    text = store.create("t", ["all"])[1]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE access_accesstoken RENAME TO elsewhere")
    with pytest.raises(Unavailable, match=r"manage\.py migrate"):
        store.find(text)


# -- the command -------------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    call_command("token", *argv)
    return capsys.readouterr().out


def test_the_command_makes_lists_and_revokes(capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(run(capsys, "create", "ci", "--scope", "publish", "--scope", "bot:b 1", "--expires", "never", "--json"))
    assert list(made) == ["id", "name", "status", "scopes", "created", "expires", "last_used", "revoked", "token"]
    assert (made["name"], made["status"], made["scopes"], made["expires"]) == ("ci", "valid", ["publish", "bot:b 1"], None)
    assert store.find(made["token"]).publish
    listed = run(capsys, "list") + run(capsys, "list", "--json")
    assert made["id"] in listed
    assert made["token"] not in listed
    assert AccessToken.objects.get().digest not in listed
    assert json.loads(run(capsys, "revoke", made["id"], "--json")) == {"id": made["id"], "status": "revoked"}
    assert json.loads(run(capsys, "list", "--json"))[0]["status"] == "revoked"


def test_the_command_gives_terminals_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    store.create("\x1b]0;owned\x07\u202eci", ["bot:\x1b[2J"])
    assert not set("\x1b\x07\u202e") & set(run(capsys, "list"))


def test_the_command_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert "token create" in run(capsys, "list")
    first, _, rest = run(capsys, "create", "ci", "--scope", "all").partition("\n")
    assert store.find(first).name == "ci"
    end = AccessToken.objects.get().expires_at
    assert end is not None
    assert abs(end - timezone.now() - timedelta(days=90)) < timedelta(minutes=5)
    assert f"{end:%Y-%m-%d}" in rest
    identifier = AccessToken.objects.get().pk
    assert run(capsys, "revoke", identifier) == f"The token {identifier} is revoked.\n"


@pytest.mark.parametrize(
    ("argv", "mend"),
    [
        (["create", "x", "--scope", "everything"], "write all, publish, metrics, operate"),
        (["create", "x", "--scope", "all", "--expires", "soon"], "write 12h, 90d"),
        (["create", "x", "--scope", "all", "--expires", "2020-01-01"], "is over"),
        (["create", "x", "--scope", "all", "--expires", "99999d"], "write 12h"),
        (["create", " ", "--scope", "all"], "1 to 100 characters"),
        (["create", "x"], "--scope"),
        (["revoke", "nobody"], "token list"),
        (["revoke", "0123456789abcdef"], "no access token 0123456789abcdef: .* token list"),
    ],
)
def test_the_command_says_what_is_wrong(argv: list[str], mend: str) -> None:
    with pytest.raises(CommandError, match=mend):
        call_command("token", *argv)
    assert not AccessToken.objects.exists()


def test_the_command_repeats_no_token_that_was_given_instead_of_its_id() -> None:
    token, text = store.create("ci", ["all"])
    for given in (text, text[:-1], "shared-secret-0123456789abcdef"):
        with pytest.raises(CommandError) as refused:
            call_command("token", "revoke", given)
        assert given[:8] not in str(refused.value)
    token.refresh_from_db()
    assert token.status == "valid"


# -- the admin ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator"))
    return client


LIST = "/admin/access/accesstoken/"


def test_the_admin_shows_a_new_token_once(operator: Client) -> None:
    form = {"name": "board", "scopes": " workflow:arb_* \n\nmetrics\n", "expires_at_0": "", "expires_at_1": ""}
    response = operator.post(f"{LIST}add/", form)
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    token = AccessToken.objects.get()
    (text,) = re.findall(rf"wst_{token.pk}_[\w-]+", response.content.decode())
    assert store.find(text) == Grant(token.pk, "board", ("workflow:arb_*",), metrics=True)
    for path in (LIST, f"{LIST}{token.pk}/change/", f"{LIST}{token.pk}/history/", "/admin/"):
        page = operator.get(path)
        assert page.status_code == 200
        assert text not in page.content.decode()
        assert token.digest not in page.content.decode()


def test_the_admin_takes_only_ids_of_signed_tokens(operator: Client) -> None:
    for text in (*[text for text, _ in NO_LOGIN_IDS if text.strip() == text], store.create("t", ["all"])[1]):
        response = operator.post("/admin/access/revokedlogin/add/", {"token_id": text})
        assert (response.status_code, "jwt- and 24" in response.content.decode()) == (200, True)
    assert not RevokedLogin.objects.exists()
    assert operator.post("/admin/access/revokedlogin/add/", {"token_id": ONE}).status_code == 302
    assert [login.pk for login in RevokedLogin.objects.all()] == [ONE]


def test_the_admin_refuses_what_is_no_scope(operator: Client) -> None:
    response = operator.post(f"{LIST}add/", {"name": "board", "scopes": "workflow:a\nnonsense"})
    assert b"is no scope" in response.content
    assert not AccessToken.objects.exists()


def test_the_admin_changes_and_revokes(operator: Client) -> None:
    token, text = store.create("board", ["all"])
    change = {"name": "board", "scopes": "bot:b", "expires_at_0": "", "expires_at_1": ""}
    assert operator.post(f"{LIST}{token.pk}/change/", change).status_code == 302
    assert store.find(text).topics == ("bot:b",)
    operator.post(LIST, {"action": "revoke_selected", "_selected_action": [token.pk]})
    assert refusal(text) is Reason.REVOKED
    assert operator.post(f"{LIST}{token.pk}/change/", change | {"scopes": "all"}).status_code == 302
    assert AccessToken.objects.get().scopes == "bot:b"
