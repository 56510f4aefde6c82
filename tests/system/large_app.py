"""`python -m tests.system.large_app PORT`: a server whose answers to `/whole` and `/parts` are larger than what systems keep of
unread ones, handed over at once or in parts. `/told` says how many of them were begun, and how many parts were handed over;
`/kept` how many bytes are kept of requests that have to wait."""

import gc
import json
from typing import Any

from twisted.web.http import HTTPChannel

from tests.system.served import serve_instead

PART: bytes = 65_536 * b"x"
PARTS = 512

_told = {"begun": 0, "parts": 0}


def _kept() -> dict[str, int]:
    channels = [each for each in gc.get_objects() if isinstance(each, HTTPChannel)]
    return {"bytes": sum(len(data) for channel in channels for data in channel._dataBuffer)}


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    large = scope["path"] in ("/whole", "/parts")
    size = len(PART) * PARTS
    body = b"" if large else json.dumps(_kept() if scope["path"] == "/kept" else _told).encode()
    headers = [(b"content-length", str(size if large else len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if not large:
        await send({"type": "http.response.body", "body": body})
        return
    _told["begun"] += 1
    if scope["path"] == "/whole":
        await send({"type": "http.response.body", "body": PART * PARTS})
        return
    for number in range(PARTS):
        await send({"type": "http.response.body", "body": PART, "more_body": number < PARTS - 1})
        _told["parts"] += 1


if __name__ == "__main__":
    serve_instead(answer)
