"""The ways out that need no real socket: long-polling's outbox, and ASGI `send`."""

import asyncio
import functools
import socket
import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from events.domain.entry import Entry
from events.fanout.wire import Bundle, Dialect, WireMessage, replay_message
from events.pipes import MAX_POLL_PACKETS, AsgiPipe, AsyncioPipe, PollingPipe, TwistedPipe, websocket_pipe
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


def test_replays_that_wait_share_their_events() -> None:
    """Each of these has a text of its own, of 35 KB."""
    entries = [Entry(number, b'"%350d"' % number, ("all",), (number,)) for number in range(1, 200)]
    pipes = [PollingPipe() for _ in range(100)]
    tracemalloc.start()
    try:
        for first, pipe in enumerate(pipes):
            sent = replay_message(Dialect.SOCKETIO, entries[first : first + 100])
            pipe.write(sent)
            # As for a WebSocket that joins at the same time.
            assert pipe.pending == len(sent.payload) < len(sent.frame)
            del sent
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 100 * 3_000
    for first, pipe in enumerate(pipes):
        replayed = orjson.loads(pipe.take()[2:])
        assert replayed == ["recent_events", {"events": [f"{n + 1:350}" for n in range(first, first + 100)], "count": 100}]
        assert pipe.pending == 0


async def test_a_binary_packet_waits_among_texts_as_what_it_is() -> None:
    pipe = PollingPipe()
    pipe.write_binary(b"4")
    pipe.write(replay_message(Dialect.PLAIN, []))
    pipe.write_binary(b"")
    taken = pipe.drain()
    assert taken == [b"4", '{"event":"recent_events","data":{"events":[],"count":0}}', b""]
    assert [type(packet) for packet in taken] == [bytes, str, bytes]


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
    pipe = AsgiPipe(server.send, lambda: "s1")
    server.gone = True
    with capture_logs() as entries:
        for _ in range(3):
            assert pipe.offer(Bundle([message("a"), message("b")]), ROOM)
            await pipe.flush()
            assert pipe.pending == 0
    assert server.sent == []
    assert [(entry["event"], entry["sid"]) for entry in entries] == [("send_failed", "s1")] * 3


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


class Transport:
    """A Twisted connection with nothing queued."""

    def __init__(self, end: socket.socket) -> None:
        self.connected, self.disconnecting, self.offset = 1, 0, 0
        self.dataBuffer, self._tempDataLen = b"", 0
        self._tempDataBuffer: list[bytes] = []
        self.socket = end

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)


class DaphneProtocol:
    """What daphne's `send` is bound to."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport


def daphne_send(transport: Transport) -> Any:
    async def handle_reply(protocol: DaphneProtocol, message: dict[str, Any]) -> None: ...

    return functools.partial(handle_reply, DaphneProtocol(transport))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def test_a_frame_goes_to_the_socket_at_once_and_behind_what_is_queued(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    transport = Transport(ours)
    pipe = websocket_pipe(daphne_send(transport))
    bundle = Bundle([message("a"), message("b")])
    assert pipe.offer(bundle, ROOM)
    assert (theirs.recv(100), pipe.pending) == (bundle.frame, 0)
    transport.write(b"queued")
    assert pipe.offer(bundle, 6)
    assert b"".join(transport._tempDataBuffer) == b"queued" + bundle.frame
    assert not pipe.offer(bundle, 6)
    assert pipe.pending == 6 + len(bundle.frame)


async def test_what_a_full_socket_does_not_take_is_queued(ends: tuple[socket.socket, socket.socket]) -> None:
    transport = Transport(ends[0])
    pipe = websocket_pipe(daphne_send(transport))
    bundle = Bundle([message("x" * 3_000_000)])
    assert pipe.offer(bundle, ROOM)
    assert 0 < pipe.pending < len(bundle.frame)
    left = pipe.pending
    assert not pipe.offer(bundle, left - 1)
    assert transport._tempDataBuffer == [bundle.frame[-left:]]


@pytest.mark.parametrize("missing", ["socket", "dataBuffer", "_tempDataBuffer", "_tempDataLen"])
async def test_a_twisted_with_other_names_gets_the_portable_way(
    missing: str, ends: tuple[socket.socket, socket.socket]
) -> None:
    transport = Transport(ends[0])
    assert isinstance(websocket_pipe(daphne_send(transport)), TwistedPipe)
    delattr(transport, missing)
    assert isinstance(websocket_pipe(daphne_send(transport)), AsgiPipe)


async def test_a_uvicorn_whose_transport_tells_no_backlog_gets_the_portable_way() -> None:
    class Owner:
        transport = SimpleNamespace(write=None, is_closing=None)

        async def send(self, message: dict[str, Any]) -> None: ...

    Owner.__module__ = "uvicorn.protocols.other"
    assert isinstance(websocket_pipe(Owner().send), AsgiPipe)
    Owner.transport.get_write_buffer_size = lambda: 0
    assert isinstance(websocket_pipe(Owner().send), AsyncioPipe)


async def test_a_pipe_has_twisted_notice_that_its_connection_is_lost() -> None:
    """Also while the connection is not read, which is the other way to notice."""
    written: list[bytes] = []

    class Gone:
        def send(self, data: bytes) -> int:
            raise BrokenPipeError

    transport: Any = SimpleNamespace(
        connected=1, disconnecting=0, dataBuffer=b"", offset=0, _tempDataBuffer=[], _tempDataLen=0, socket=Gone(),
        write=written.append,
    )  # fmt: skip
    TwistedPipe(transport).put(b"event")
    assert written == [b"event"]
