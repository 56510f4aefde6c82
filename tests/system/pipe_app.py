"""An ASGI application that shows the ways out of `events.pipes`.

A WebSocket at `/wrapped` hides the server's `send` behind a function of its own, as any middleware might. The first message
is the name of the pipe's class. A message `burst <count> <size>` is answered by texts, every third of them with others in one
write, and by binary messages. None is empty: daphne drops those that come through its `send`. `GET /pending` tells how many
bytes of the last WebSocket have not been sent.
"""

from typing import Any

from events.fanout.wire import Bundle, WireMessage
from events.pipes import ClosablePipe, websocket_pipe

#: Nothing is refused: tests look at what is pending.
ROOM = 1_000_000_000

_pipes: list[ClosablePipe] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await _websocket(scope["path"], receive, send)
    elif scope["type"] == "http":
        body = str(_pipes[-1].pending if _pipes else 0).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


async def _websocket(path: str, receive: Any, send: Any) -> None:
    async def wrapped(message: dict[str, Any]) -> None:
        await send(message)

    await receive()
    await send({"type": "websocket.accept"})
    pipe = websocket_pipe(wrapped if path == "/wrapped" else send)
    _pipes.append(pipe)
    pipe.write(WireMessage(type(pipe).__name__.encode()))
    while (message := await receive())["type"] == "websocket.receive":
        _, count, size = message["text"].split()
        burst(pipe, int(count), int(size))


def burst(pipe: ClosablePipe, count: int, size: int) -> None:
    for number in range(count):
        text = WireMessage(f"{number}:{'ä' * (size // 2)}".encode())
        if number % 3:
            pipe.write(text)
        else:
            pipe.offer(Bundle([text, WireMessage(b"-"), text]), ROOM)
        pipe.write_binary(bytes([number % 256]) * size)
