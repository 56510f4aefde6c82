"""The ways out that need no real socket: long-polling's outbox, and ASGI `send`."""

import asyncio
from typing import Any

from events.fanout.wire import Bundle, WireMessage
from events.pipes import MAX_POLL_PACKETS, AsgiPipe, PollingPipe, websocket_pipe
from tests.fanout.support import turns, until

#: More than any test writes.
ROOM = 1_000_000


def message(text: str) -> WireMessage:
    return WireMessage(text.encode())


class Server:
    """An ASGI server's `send`: waits while `open` is clear, refuses when `gone`."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.gone = False

    async def send(self, message: dict[str, Any]) -> None:
        await self.open.wait()
        if self.gone:
            raise OSError("the connection is gone")
        self.sent.append(message)

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.sent]


# -- long-polling --------------------------------------------------------------------------------------------------------


async def test_an_outbox_joins_what_waits_into_one_payload() -> None:
    pipe = PollingPipe()
    pipe.write(message("4a"))
    assert pipe.offer(Bundle([message("4b"), message("4é")]), ROOM)
    pipe.write_binary(b"\x01\x02")
    assert pipe.pending == 2 + 2 + 3 + 2
    assert pipe.take() == "4a\x1e4b\x1e4é\x1ebAQI="
    assert (pipe.pending, pipe.take()) == (0, "")


async def test_an_outbox_can_be_waited_for() -> None:
    pipe = PollingPipe()
    waiting = asyncio.create_task(pipe.filled())
    await turns()
    assert not waiting.done()
    pipe.write(message("4a"))
    await waiting
    pipe.take()
    waiting = asyncio.create_task(pipe.filled())
    await turns()
    assert not waiting.done()
    waiting.cancel()


async def test_what_is_too_much_for_one_answer_is_kept_for_the_next() -> None:
    pipe = PollingPipe()
    texts = [f"4é{number}" for number in range(2 * MAX_POLL_PACKETS + 3)]
    assert pipe.offer(Bundle([message(text) for text in texts]), ROOM)
    taken: list[str] = []
    while pipe.pending:
        await pipe.filled()
        part = pipe.take().split("\x1e")
        assert len(part) <= MAX_POLL_PACKETS
        taken += part
        assert pipe.pending == sum(len(text.encode()) for text in texts[len(taken) :])
    assert taken == texts


async def test_a_shut_outbox_still_gives_out_what_it_has() -> None:
    pipe = PollingPipe()
    texts = [f"4{number}" for number in range(MAX_POLL_PACKETS + 3)]
    assert pipe.offer(Bundle([message(text) for text in texts]), ROOM)
    pipe.shut()
    pipe.write(message("4late"))
    assert pipe.take().split("\x1e") == texts


# -- ASGI ----------------------------------------------------------------------------------------------------------------


async def test_what_is_written_is_sent_in_order() -> None:
    server = Server()
    pipe = AsgiPipe(server.send)
    pipe.write(message("a"))
    assert pipe.offer(Bundle([message("b"), message("c")]), ROOM)
    pipe.write_binary(b"\x00")
    await pipe.flush()
    assert server.sent == [
        {"type": "websocket.send", "text": "a"},
        {"type": "websocket.send", "text": "b"},
        {"type": "websocket.send", "text": "c"},
        {"type": "websocket.send", "bytes": b"\x00"},
    ]
    assert pipe.pending == 0
    pipe.write(message("d"))
    await pipe.flush()
    assert len(server.sent) == 5


async def test_writing_never_waits_and_what_has_not_left_is_pending() -> None:
    server = Server()
    pipe = AsgiPipe(server.send)
    server.open.clear()
    assert pipe.offer(Bundle([message("é" * 10), message("b" * 5)]), ROOM)
    await turns()
    assert pipe.pending == 25
    server.open.set()
    await until(lambda: not pipe.pending)
    assert len(server.sent) == 2


async def test_a_pipe_whose_connection_is_gone_takes_everything_and_sends_nothing() -> None:
    server = Server()
    pipe = AsgiPipe(server.send)
    server.gone = True
    for _ in range(3):
        assert pipe.offer(Bundle([message("a"), message("b")]), ROOM)
        await pipe.flush()
        assert pipe.pending == 0
    assert server.sent == []


async def test_a_shut_pipe_still_sends_what_it_has_and_nothing_more() -> None:
    server = Server()
    pipe = AsgiPipe(server.send)
    server.open.clear()
    pipe.write(message("a"))
    pipe.shut()
    pipe.write(message("late"))
    pipe.write_binary(b"late")
    server.open.set()
    await pipe.flush()
    assert server.texts == ["a"]


async def test_an_unknown_server_gets_the_portable_way() -> None:
    assert isinstance(websocket_pipe(Server().send), AsgiPipe)
