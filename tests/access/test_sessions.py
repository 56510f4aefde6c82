"""Sessions of the admin, and where its pages lead and are shown: what strangers may not make of them."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

PASSWORD: Final = "sesame-0123456789"

LOGIN, LOGOUT, CHANGE = "/admin/login/", "/admin/logout/", "/admin/password_change/"

ELSEWHERE: Final = [
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "https:evil.example/",
    "http:///evil.example/",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
    "/\t/evil.example/",
    "\x08//evil.example/",
    "javascript:alert(1)",
    "data:text/html,x",
]


@pytest.fixture(autouse=True)
def ann(db: None, settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_superuser("ann", password=PASSWORD)


def log_in(client: Client, **fields: str) -> Any:
    return client.post(LOGIN, {"username": "ann", "password": PASSWORD, **fields})


def session_key(client: Client) -> str:
    key: str = client.cookies[settings.SESSION_COOKIE_NAME].value
    return key


def with_session(key: str) -> Client:
    """A browser in which somebody has put this session."""
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = key
    return client


def is_inside(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


# -- sessions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exists", [True, False])
def test_a_session_that_was_there_before_the_login_is_worth_nothing_after_it(exists: bool) -> None:
    planted = SessionStore()
    if exists:
        planted["known"] = "to somebody else"
        planted.create()
    key = planted.session_key or "a" * 32
    victim = with_session(key)
    assert log_in(victim).status_code == 302
    assert is_inside(victim)
    assert session_key(victim) != key
    assert not is_inside(with_session(key))
    assert not Session.objects.filter(session_key=key).exists()


def test_another_login_in_the_same_browser_has_nothing_of_the_first(ann: User) -> None:
    User.objects.create_superuser("bob", password=PASSWORD)
    client = Client()
    log_in(client)
    first = session_key(client)
    client.post(LOGIN, {"username": "bob", "password": PASSWORD})
    assert session_key(client) != first
    assert not is_inside(with_session(first))


def test_who_logs_out_has_no_session_any_more(client: Client) -> None:
    log_in(client)
    kept = with_session(session_key(client))
    client.post(LOGOUT)
    assert not is_inside(kept)


def test_another_password_ends_the_other_sessions(client: Client) -> None:
    elsewhere = Client()
    for each in (client, elsewhere):
        log_in(each)
    before = session_key(client)
    passwords = {"old_password": PASSWORD, "new_password1": "another-0123456789", "new_password2": "another-0123456789"}
    assert client.post(CHANGE, passwords).status_code == 302
    assert is_inside(client)
    assert session_key(client) != before
    assert not is_inside(elsewhere)
    assert not is_inside(with_session(before))


# -- where pages lead --------------------------------------------------------------------------------------------------


def leads_here(response: Any) -> bool:
    """Whether a browser that follows an answer stays on this server."""
    target = urlsplit(urljoin("http://testserver/admin/", response.headers.get("Location", "")))
    return (target.scheme, target.netloc) == ("http", "testserver")


@pytest.mark.parametrize("page", ELSEWHERE)
def test_no_page_leads_elsewhere(client: Client, page: str) -> None:
    query = {"next": page}
    answers = [
        client.get(LOGIN, query),
        client.get("/admin/", query),
        log_in(client, **query),
        # Somebody who is logged in already.
        client.get(LOGIN, query),
        client.post(f"{LOGIN}?{client.get(LOGIN, query).request['QUERY_STRING']}", {"username": "ann", "password": PASSWORD}),
        client.post(CHANGE, {"old_password": "wrong", **query}),
        client.post(LOGOUT, query),
        client.post(f"{LOGOUT}?{client.get(LOGIN, query).request['QUERY_STRING']}"),
    ]
    assert [answer.headers.get("Location") for answer in answers if not leads_here(answer)] == []
    assert "evil.example" not in "".join(answer.headers.get("Location", "").partition("?")[0] for answer in answers)


@pytest.mark.parametrize("path", ["//evil.example", "//evil.example/admin", "/admin//evil.example", "/\\evil.example"])
def test_no_path_leads_elsewhere(client: Client, path: str) -> None:
    log_in(client)
    assert leads_here(client.get(path, follow=False))


def test_the_login_leads_to_the_page_that_was_asked_for(client: Client) -> None:
    assert client.get("/admin/auth/user/").headers["Location"] == f"{LOGIN}?next=/admin/auth/user/"
    assert log_in(client, next="/admin/auth/user/").headers["Location"] == "/admin/auth/user/"


# -- frames ------------------------------------------------------------------------------------------------------------


#: Parts of paths that may not be anything; others are "1".
PARTS: Final = {"app_label": "auth"}


def paths(resolver: URLResolver, names: tuple[str, ...] = ()) -> Iterator[str]:
    """Of every page that has a name."""
    for each in resolver.url_patterns:
        if isinstance(each, URLResolver):
            yield from paths(each, (*names, each.namespace) if each.namespace else names)
        elif each.name:
            parts = {name: PARTS.get(name, "1") for name in each.pattern.regex.groupindex}
            yield reverse(":".join((*names, each.name)), kwargs=parts)


def test_no_page_is_shown_in_a_frame(client: Client) -> None:
    client.raise_request_exception = False
    found = list(paths(get_resolver()))
    assert {"/", "/status", "/health", LOGIN, CHANGE, "/admin/auth/user/1/change/", "/api/docs/"} <= set(found)
    visitor = Client(raise_request_exception=False)
    log_in(client)
    for path in found:
        # The last one, as it ends the session.
        for browser in (visitor, client) if path != LOGOUT else (visitor,):
            headers = browser.get(path).headers
            assert headers.get("X-Frame-Options") == "DENY", path
            assert "frame-ancestors 'none'" in headers.get("Content-Security-Policy", ""), path
