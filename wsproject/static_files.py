"""Static files in front of Django: found by WhiteNoise, read and sent without a turn through Django's request cycle."""

from collections.abc import Awaitable, Callable, Iterator
from io import BytesIO
from typing import Any, Final

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: So much of a file is read at a time, once the server has taken what was read before.
PART_BYTES: Final = 65_536


class StaticFiles:
    """An ASGI application that answers requests for static files, and hands all others to `fallback`.

    As Django middleware the same costs four times as much: middleware that is synchronous changes threads several times per
    request, and the test client's page asks for thirty files. Nearly all are small; of one that is not, parts are read as the
    client takes them.
    """

    def __init__(self, fallback: Application) -> None:
        self._fallback = fallback
        self._files = WhiteNoiseMiddleware(fallback)
        # The same headers as on Django's own answers: HSTS over HTTPS, and no guessing of types.
        self._security = SecurityMiddleware(lambda _request: HttpResponse())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope["path"])
        request = ASGIRequest(scope, BytesIO()) if found is not None else None
        if request is None or (settings.SECURE_SSL_REDIRECT and not request.is_secure()):
            await self._fallback(scope, receive, send)
            return
        response = found.get_response(scope["method"], _environ(scope))
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        secured = self._security.process_response(request, HttpResponse(headers={"Content-Type": ""}))
        headers += [
            (name.lower().encode(), value.encode()) for name, value in secured.items() if name.lower() != "content-type"
        ]
        await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
        for part, more in _parts(response):
            await send({"type": "http.response.body", "body": part, "more_body": more})

    def _find(self, path: str) -> Any:
        """WhiteNoise's file at a path; None where there is none."""
        return self._files.find_file(path) if self._files.autorefresh else self._files.files.get(path)


def _environ(scope: Scope) -> dict[str, str]:
    """A request's headers by the names of WSGI, which WhiteNoise knows them by."""
    headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers}


def _parts(response: Any) -> Iterator[tuple[bytes, bool]]:
    """The parts of an answer's body, and whether more follow."""
    if response.file is None:
        yield b"", False
        return
    with response.file as file:
        more = True
        while more:
            part = file.read(PART_BYTES)
            more = len(part) == PART_BYTES
            yield part, more
