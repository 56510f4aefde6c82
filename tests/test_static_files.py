"""`wsproject/static_files.py`: what is answered before Django is asked."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings

from wsproject.static_files import PART_BYTES, Receive, Scope, Send, StaticFiles

STYLE = "/static/admin/css/base.css"
BUNDLE = "/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
CLIENT = "/static/vendor/socket.io-client/socket.io.min.js"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


async def fallback(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"not a file"})


async def ask(path: str, method: str = "GET", **headers: str) -> Answer:
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path}
    scope["headers"] = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await StaticFiles(fallback)(scope, asyncio.Event().wait, send)
    start, *parts = said
    assert [part.get("more_body", False) for part in parts] == (len(parts) - 1) * [True] + [False]
    assert max(len(part["body"]) for part in parts) <= PART_BYTES
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(part["body"] for part in parts))


@pytest.mark.parametrize("path", [STYLE, CLIENT, "/static/test_client/client.js"])
async def test_files_are_served_without_being_collected(path: str) -> None:
    answer = await ask(path)
    assert answer.status == 200
    assert int(answer.headers["content-length"]) == len(answer.body) > 0
    assert answer.headers["content-type"].startswith(("text/css", "text/javascript"))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert settings.SOCKET_IO_CLIENT.is_dir()


async def test_files_have_the_headers_of_pages_and_are_redirected_like_them(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 60
    assert "strict-transport-security" not in (await ask(STYLE)).headers
    secure = await ask(STYLE, x_forwarded_proto="https")
    assert secure.headers["strict-transport-security"] == "max-age=60"
    assert secure.headers["content-type"].startswith("text/css")
    settings.SECURE_SSL_REDIRECT = True
    assert (await ask(STYLE)).body == b"not a file", "Django redirects"
    assert (await ask(STYLE, x_forwarded_proto="https")).status == 200


async def test_part_of_a_file_or_none_of_it_can_be_asked_for() -> None:
    whole = await ask(STYLE)
    part = await ask(STYLE, range="bytes=2-5")
    assert (part.status, part.body) == (206, whole.body[2:6])
    head = await ask(STYLE, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(whole.body)))
    known = await ask(STYLE, if_none_match=whole.headers["etag"])
    assert (known.status, known.body) == (304, b"")
    assert (await ask(STYLE, "POST")).status == 405


async def test_a_large_file_is_read_in_parts() -> None:
    whole = await ask(BUNDLE)
    assert len(whole.body) == int(whole.headers["content-length"]) > 10 * PART_BYTES
    assert (await ask(BUNDLE, range="bytes=70000-270000")).body == whole.body[70_000:270_001]


@pytest.mark.parametrize(
    "path", ["/", "/health", "/static/nothing.js", "/static/../wsproject/settings.py", "/static/test_client/"]
)
async def test_what_is_no_file_is_for_django(path: str) -> None:
    assert (await ask(path)).body == b"not a file"
