"""What is read of a WebSocket waits in a queue with an end: the socket is paused and read on."""

import weakref

import pytest

from events.inflow import QUEUE_MESSAGES, Inflow


class Connection:
    """Counts what a transport is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.told.append("pause")

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        self.told.append("resume")


@pytest.mark.parametrize(("size", "fits"), [(1, QUEUE_MESSAGES), (3_000, 3)])
async def test_a_full_queue_pauses_the_socket_until_half_is_taken(size: int, fits: int) -> None:
    connection = Connection()
    inflow = Inflow(connection, max_bytes=10_000)
    for _ in range(fits):
        inflow.put("x" * size)
    assert connection.told == []
    for _ in range(3):
        inflow.put(b"x" * size)
    assert connection.told == ["pause"]
    while len(inflow) > fits // 2 + 1:
        await inflow.get()
    assert connection.told == ["pause"]
    while len(inflow):
        await inflow.get()
    assert connection.told == ["pause", "resume"]


async def test_what_was_put_is_taken_as_asgi_has_it() -> None:
    inflow = Inflow(Connection(), max_bytes=10)
    for message in ({"type": "websocket.connect"}, "text", b"bytes"):
        inflow.put(message)
    assert [await inflow.get() for _ in range(3)] == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "text"},
        {"type": "websocket.receive", "bytes": b"bytes"},
    ]


async def test_the_end_of_a_connection_is_a_message_without_a_size() -> None:
    inflow = Inflow(Connection(), max_bytes=10)
    inflow.put({"type": "websocket.disconnect", "code": 1000})
    assert (await inflow.get())["code"] == 1000


async def test_the_end_drops_what_waits_and_lets_go_of_the_connection() -> None:
    connection = Connection()
    inflow = Inflow(connection, max_bytes=10)
    inflow.put("x" * 100)
    inflow.end({"type": "websocket.disconnect", "code": 1006})
    there = weakref.ref(connection)
    del connection
    assert there() is None, "they know each other, and would stay until the garbage collector comes"
    assert (await inflow.get())["type"] == "websocket.disconnect"
    assert len(inflow) == 0
