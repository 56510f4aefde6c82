"""`python -m tests.system.holding_app PORT`: a server that goes on with requests for `/hold` when their clients are gone, until
there is one for `/release`. Each answer says how many of those clients have gone."""

import asyncio
from typing import Any

from tests.system.served import serve_instead

_released = asyncio.Event()
_gone = 0


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    global _gone
    if scope["path"] == "/hold":
        while (await receive())["type"] != "http.disconnect":
            continue
        _gone += 1
        await _released.wait()
    if scope["path"] == "/release":
        _released.set()
    body = str(_gone).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve_instead(answer)
