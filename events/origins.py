"""Which web pages may connect: cross-origin rules for long-polling and for WebSockets alike."""

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

Headers = Iterable[tuple[bytes, bytes]]


def header(headers: Headers, name: bytes) -> str:
    """The first header of this (lower-case) name; empty when there is none."""
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def origin_allowed(headers: Headers, allowed: Sequence[str]) -> bool:
    """Whether the page that made this request may have an answer.

    No `Origin` means no browser page, so there is nothing to protect. The server's own origin is always allowed: the scheme
    is left out of that comparison, because behind a proxy that ends TLS we do not see the one that the browser used.
    """
    origin = header(headers, b"origin")
    if not origin or "*" in allowed or origin in allowed:
        return True
    try:
        place = urlsplit(origin).netloc
    except ValueError:
        return False
    return bool(place) and place == header(headers, b"host")


def cors_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """What the answer to an allowed request must carry for a browser to hand it to the page."""
    origin = header(headers, b"origin")
    if not origin:
        return []
    # Never `*`, which browsers refuse to clients that send credentials. Sockets use no cookies, so this gives nothing away.
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def preflight_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The answer to a browser that asks first."""
    wanted = header(headers, b"access-control-request-headers") or "content-type"
    return [
        *cors_headers(headers),
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", wanted.encode("latin-1")),
        (b"access-control-max-age", b"600"),
    ]
