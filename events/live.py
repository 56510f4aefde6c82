"""`GET /health/live`: whether the event loop of this process turns. It answers itself, without Django and its threads."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

_HEADERS: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_BODY: Final = b'{"status":"alive"}'


async def live_app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """An ASGI application that says so."""
    body = b"" if scope["method"] == "HEAD" else _BODY
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": body})
