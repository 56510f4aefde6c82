"""`python -m tests.system.line_app PORT`: a server on the event loop of servers that answers each request with what it is to
that loop: `client`, or `delivery`. A request with `refuse` in its address is answered with 400."""

from typing import Any

from events.clients_last import CLIENT
from tests.system.served import serve_instead


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b"client" if CLIENT.get() else b"delivery"
    status = 400 if b"refuse" in scope["query_string"] else 200
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    serve_instead(answer)
