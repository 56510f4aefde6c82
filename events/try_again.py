"""The answer to a request that is not taken for now."""

from typing import Final

import orjson

from events.asgi_types import Send

_HEADERS: Final = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), (b"retry-after", b"1")]


async def try_again(send: Send, status: int, message: str) -> None:
    """Tell the client why, and to come back in a second."""
    await send({"type": "http.response.start", "status": status, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": orjson.dumps({"message": message})})
