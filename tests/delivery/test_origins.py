"""Which pages may connect, and what their browsers need to see in the answer."""

import pytest

from events.origins import cors_headers, header, origin_allowed, preflight_headers

DASH = "https://dash.example.com"


def headers(origin: str = "", host: str = "ws.example.com", **more: str) -> list[tuple[bytes, bytes]]:
    named = {"host": host, **({"origin": origin} if origin else {}), **more}
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]


@pytest.mark.parametrize(
    ("origin", "allowed", "expected"),
    [
        ("", (), True),
        ("", (DASH,), True),
        (DASH, (DASH,), True),
        (DASH, ("*",), True),
        (DASH, ("https://other.example.com", DASH), True),
        (DASH, (), False),
        ("http://dash.example.com", (DASH,), False),
        (f"{DASH}:8443", (DASH,), False),
        (f"{DASH}.evil.example", (DASH,), False),
        ("https://ws.example.com", (), True),
        ("http://ws.example.com", (), True),
        ("HTTPS://Dash.Example.com", (DASH,), True),
        ("https://WS.example.com", (), True),
        (f"{DASH}.", (DASH,), False),
        ("https://ws.example.com.evil.example", (), False),
        ("https://ws.example.com@evil.example", (), False),
        ("https://evil.example/ws.example.com", (), False),
        ("null", (), False),
        ("null", (DASH,), False),
        ("http://[::1", (DASH,), False),
        ("https://ws.exa\tmple.com", (), False),
        ("https://ws.example.com\r\n", (), False),
    ],
)
def test_who_may_connect(origin: str, allowed: tuple[str, ...], expected: bool) -> None:
    assert origin_allowed(headers(origin), allowed) is expected


def test_a_page_without_a_host_to_compare_with_is_refused() -> None:
    assert not origin_allowed([(b"origin", b"null")], ())
    assert not origin_allowed([(b"origin", b"file://")], ())


def test_any_port_of_the_own_host_must_be_the_own_one() -> None:
    assert origin_allowed(headers("http://localhost:8001", host="localhost:8001"), ())
    assert not origin_allowed(headers("http://localhost:3000", host="localhost:8001"), ())


def test_cors_without_an_origin_says_nothing() -> None:
    assert cors_headers(headers(), ("*",)) == []


def test_cors_names_the_page_allows_credentials_and_varies() -> None:
    assert cors_headers(headers(DASH), (DASH,)) == [
        (b"access-control-allow-origin", DASH.encode()),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def test_a_page_that_may_not_connect_may_not_read_the_refusal_either() -> None:
    assert cors_headers(headers("https://evil.example"), (DASH,)) == [(b"vary", b"Origin")]


@pytest.mark.parametrize(("asked", "granted"), [("", b"content-type"), ("x-one, x-two", b"x-one, x-two")])
def test_a_preflight_is_granted_what_it_asks_for(asked: str, granted: bytes) -> None:
    more = {"access_control_request_headers": asked} if asked else {}
    answer = dict(preflight_headers(headers(DASH, **more), (DASH,)))
    assert answer[b"access-control-allow-headers"] == granted
    assert b"POST" in answer[b"access-control-allow-methods"]
    assert answer[b"access-control-allow-origin"] == DASH.encode()


def test_the_first_header_counts() -> None:
    assert header([(b"host", b"a"), (b"host", b"b")], b"host") == "a"
    assert header([], b"host") == ""
