"""Who may connect, by what a request says of itself: the server's names and cross-origin rules, for every way in alike."""

from collections.abc import Iterable, Sequence

from django.http.request import split_domain_port, validate_host

Headers = Iterable[tuple[bytes, bytes]]


def header(headers: Headers, name: bytes) -> str:
    """The first header of this (lower-case) name; empty when there is none."""
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def host_allowed(headers: Headers, allowed: Sequence[str]) -> bool:
    """Whether the request names this server, by Django's rules for `ALLOWED_HOSTS`.

    A page of any site can have its own name resolve to this server's address (DNS rebinding). Then the browser takes the
    server for a part of that site: `Origin` and `Host` agree, and only the name is wrong.
    """
    domain, _ = split_domain_port(header(headers, b"host"))
    return "*" in allowed or (bool(domain) and validate_host(domain, allowed))


def origin_allowed(headers: Headers, allowed: Sequence[str]) -> bool:
    """Whether the page that made this request may have an answer.

    No `Origin` means no browser page, so there is nothing to protect. The server's own origin is always allowed: the scheme
    is left out of that comparison, because behind a proxy that ends TLS we do not see the one that the browser used.
    """
    origin = header(headers, b"origin").lower()
    if not origin or "*" in allowed or origin in allowed:
        return True
    # Not by a reader of addresses, which leaves out tabs and line ends.
    place = origin.partition("://")[2]
    return bool(place) and place == header(headers, b"host").lower()


def cors_headers(headers: Headers, allowed: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """What an answer must carry for a browser to hand it to the page, where the page may have it."""
    origin = header(headers, b"origin")
    if not origin:
        return []
    if not origin_allowed(headers, allowed):
        return [(b"vary", b"Origin")]
    # Never `*`, which browsers refuse to clients that send credentials. Sockets use no cookies, so this gives nothing away.
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def preflight_headers(headers: Headers, allowed: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """The answer to a browser that asks first."""
    wanted = header(headers, b"access-control-request-headers") or "content-type"
    return [
        *cors_headers(headers, allowed),
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", wanted.encode("latin-1")),
        (b"access-control-max-age", b"600"),
    ]
