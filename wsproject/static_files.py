"""Static files in front of Django: found by WhiteNoise, read and sent without a turn through Django's request cycle."""

from collections.abc import Awaitable, Callable
from typing import Any

from whitenoise.middleware import WhiteNoiseMiddleware

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class StaticFiles:
    """An ASGI application that answers requests for static files, and hands all others to `fallback`.

    As Django middleware the same costs four times as much: middleware that is synchronous changes threads several times per
    request, and the test client's page asks for thirty files. They are small, so each is read and sent whole.
    """

    def __init__(self, fallback: Application) -> None:
        self._fallback = fallback
        self._files = WhiteNoiseMiddleware(fallback)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope["path"])
        if found is None:
            await self._fallback(scope, receive, send)
            return
        response = found.get_response(scope["method"], _environ(scope))
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        headers.append((b"x-content-type-options", b"nosniff"))
        await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
        await send({"type": "http.response.body", "body": _content(response)})

    def _find(self, path: str) -> Any:
        """WhiteNoise's file at a path; None where there is none."""
        return self._files.find_file(path) if self._files.autorefresh else self._files.files.get(path)


def _environ(scope: Scope) -> dict[str, str]:
    """A request's headers by the names of WSGI, which WhiteNoise knows them by."""
    headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}


def _content(response: Any) -> bytes:
    if response.file is None:
        return b""
    with response.file as file:
        content: bytes = file.read()
    return content
