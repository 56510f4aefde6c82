"""A WebSocket under daphne, driven by its application and its client. What clients do to it over the wire is in
`tests/system/test_hostile_input.py`."""

import asyncio
import dataclasses
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.frames import Frame, Opcode

from events import websocket as module
from events.inflow import QUEUE_MESSAGES
from events.limits.rate import Rate
from events.pipes import websocket_pipe
from events.protocol.frames import close_frame, ping_frame, pong_frame, text_frame
from events.protocol.websocket import SMALL_FRAGMENT, handshake_answer
from events.websocket import REFUSED, SocketLimits, WebSocket, WebSocketHouse
from tests.fanout.support import turns, until

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="

LIMITS = SocketLimits(message_bytes=1_000, frame_bytes=1_000, connect_s=20, ping_interval_s=25, ping_timeout_s=20)


class Connection:
    """A Twisted connection of one end of a pair of sockets. What is queued leaves when it is lost."""

    def __init__(self, end: socket.socket) -> None:
        self.connected, self.disconnecting, self.offset = 1, 0, 0
        self.dataBuffer, self._tempDataLen = b"", 0
        self._tempDataBuffer: list[bytes] = []
        self.socket = end
        self.protocol: Any = None
        self.told: list[str] = []

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's names
        self.disconnecting = 1
        self.socket.send(b"".join(self._tempDataBuffer))
        self.told.append("lose")

    def abortConnection(self) -> None:  # noqa: N802
        self.told.append("abort")

    def pauseProducing(self) -> None:  # noqa: N802
        self.told.append("pause")

    def resumeProducing(self) -> None:  # noqa: N802
        self.told.append("resume")


class World:
    """One client of an application that does what the test tells it."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.client = theirs
        self.connection = Connection(ours)
        self.received: list[dict[str, Any]] = []
        self.release = asyncio.Event()
        self.failure: Exception | None = None
        self.refused: list[str] = []
        self.scope: dict[str, Any] = {}
        self.house = WebSocketHouse(self.application, LIMITS, self.refused.append)
        self.house.open(self.connection, {"type": "websocket"}, KEY)

    @property
    def socket(self) -> WebSocket:
        socket: WebSocket = self.connection.protocol
        return socket

    async def application(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        self.scope = scope
        reading = asyncio.ensure_future(self._read(receive))
        try:
            await self.release.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            reading.cancel()

    async def _read(self, receive: Callable[[], Any]) -> None:
        while True:
            self.received.append(await receive())

    async def accept(self) -> None:
        await self.socket.send({"type": "websocket.accept"})
        assert self.client.recv(1_000) == handshake_answer(KEY)

    def hear(self, opcode: Opcode, payload: bytes = b"") -> None:
        self.socket.dataReceived(Frame(opcode, payload).serialize(mask=True))

    def is_direct(self) -> bool:
        """Whether the hub may write to the connection itself."""
        return self.socket.pipe.direct is not None

    def queued(self) -> bytes:
        return b"".join(self.connection._tempDataBuffer)


@pytest.fixture
async def world() -> Any:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    with ours, theirs:
        world = World(ours, theirs)
        await turns()
        yield world
        world.house.cancel()
        await turns()


@pytest.fixture(autouse=True)
def _no_time_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 0.01)


async def test_messages_go_both_ways_and_straight_to_the_connection(world: World) -> None:
    await world.accept()
    assert websocket_pipe(world.socket.send) is world.socket.pipe
    assert world.is_direct()
    world.hear(Opcode.TEXT, "ä".encode())
    world.hear(Opcode.BINARY, b"\x00")
    world.hear(Opcode.PING, b"there?")
    await world.socket.send({"type": "websocket.send", "text": "ö"})
    await turns()
    assert world.received == [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "ä"},
        {"type": "websocket.receive", "bytes": b"\x00"},
    ]
    assert world.client.recv(100) == pong_frame(b"there?") + text_frame("ö".encode())


async def test_what_the_application_says_first_leaves_with_the_answer(world: World) -> None:
    heard: list[bytes] = []

    async def application(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        with pytest.raises(BlockingIOError):
            world.client.recv(1_000)
        heard.append(b"")
        await receive()

    world.client.setblocking(False)
    WebSocketHouse(application, LIMITS, world.refused.append).open(world.connection, {"type": "websocket"}, KEY)
    await turns()
    assert heard == [b""]
    assert world.client.recv(1_000) == handshake_answer(KEY) + text_frame(b"hello")
    assert world.is_direct()
    world.socket.cancel()
    await turns()


async def test_a_refused_client_gets_403_and_an_end(world: World) -> None:
    await world.socket.send({"type": "websocket.close"})
    assert world.client.recv(1_000) == REFUSED
    world.socket.pipe.put(b"too late")
    assert not world.is_direct()
    assert world.queued() == REFUSED
    await until(lambda: world.connection.told[-2:] == ["lose", "abort"])


async def test_nothing_may_come_before_the_handshake_is_answered(world: World) -> None:
    world.hear(Opcode.TEXT, b"early")
    assert world.connection.told[-1] == "abort"


async def test_the_client_closes(world: World) -> None:
    await world.accept()
    world.hear(Opcode.CLOSE, b"\x0f\xa1")
    assert world.client.recv(100) == b"\x88\x02\x0f\xa1"
    assert world.connection.told[-1] == "lose"
    assert not world.is_direct()
    world.socket.connectionLost()
    await turns()
    assert world.received[-1] == {"type": "websocket.disconnect", "code": 4_001}
    assert len(world.house) == 0
    await world.socket.send({"type": "websocket.send", "text": "too late"})
    assert world.queued() == b"\x88\x02\x0f\xa1"


async def test_the_application_closes_and_a_client_that_does_not_agree_is_cut(world: World) -> None:
    await world.accept()
    await world.socket.send({"type": "websocket.close", "code": 4_002})
    await world.socket.send({"type": "websocket.send", "text": "too late"})
    assert world.queued() == b"\x88\x02\x0f\xa2"
    assert not world.is_direct()
    await until(lambda: world.connection.told[-1] == "abort")


async def test_a_violation_is_told_by_its_code_and_counted_once(world: World) -> None:
    await world.accept()
    world.scope["about"]["sid"] = lambda: "s1"
    with capture_logs() as entries:
        world.hear(Opcode.TEXT, b"\xff")
        world.hear(Opcode.TEXT, b"\xff")
    assert [(entry["event"], entry["sid"]) for entry in entries] == [("websocket_violation", "s1")]
    assert world.refused == ["utf8"]
    assert world.client.recv(100) == close_frame(1_007, "text that is not UTF-8")
    assert not world.is_direct()
    world.socket.connectionLost()
    await turns()
    assert world.received[-1] == {"type": "websocket.disconnect", "code": 1_007}


@pytest.mark.parametrize(("failure", "code"), [(None, 1_000), (ValueError("on purpose"), 1_011)])
async def test_a_socket_ends_with_its_application(world: World, failure: Exception | None, code: int) -> None:
    await world.accept()
    world.failure = failure
    world.release.set()
    await until(lambda: world.queued() == b"\x88\x02" + code.to_bytes(2, "big"))


async def test_an_application_that_ends_without_an_answer_refuses(world: World) -> None:
    world.release.set()
    await until(lambda: bool(world.connection.disconnecting))
    assert world.client.recv(1_000) == REFUSED


async def test_an_application_that_outlives_its_connection_is_cancelled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "APPLICATION_TIMEOUT_S", 0.01)
    await world.accept()
    assert world.is_direct()
    world.socket.connectionLost()
    assert not world.is_direct()
    await until(lambda: world.socket._task is None)


async def test_a_silent_client_is_pinged_and_cut_when_it_stays_silent(world: World) -> None:
    await world.accept()
    now = time.monotonic()
    world.socket.check(now + 24)
    world.socket.check(now + 26)
    world.socket.check(now + 45)
    assert world.client.recv(100) == ping_frame()
    assert "abort" not in world.connection.told
    world.socket.check(now + 47)
    assert world.connection.told[-1] == "abort"


async def test_who_was_silent_is_looked_at_when_it_is_due_and_not_before(world: World) -> None:
    world.house.limits = dataclasses.replace(LIMITS, ping_interval_s=0.1, ping_timeout_s=0.1)
    await world.accept()
    world.socket.check(time.monotonic())
    assert "abort" not in world.connection.told
    await until(lambda: world.connection.told[-1] == "abort")
    assert world.client.recv(100) == ping_frame()


async def test_one_that_has_gone_is_looked_at_no_more(world: World) -> None:
    await world.accept()
    assert world.socket.alarm
    world.socket.connectionLost()
    assert not world.socket.alarm


async def test_any_sign_of_life_answers_a_ping(world: World) -> None:
    await world.accept()
    now = time.monotonic()
    world.socket._heard_at, world.socket._pinged_at = now - 46, now - 21
    world.hear(Opcode.PONG)
    world.socket.check(time.monotonic())
    assert "abort" not in world.connection.told


async def test_an_application_that_does_not_answer_the_handshake_is_not_waited_for(world: World) -> None:
    world.socket.check(time.monotonic() + 21)
    assert world.client.recv(1_000).startswith(b"HTTP/1.1 500 ")


async def test_pings_of_a_client_that_does_not_read_are_not_collected(world: World) -> None:
    await world.accept()
    world.connection.write(bytes(module.PONG_BACKLOG + 1))
    world.hear(Opcode.PING, b"and this?")
    assert len(world.queued()) == module.PONG_BACKLOG + 1


async def test_pings_that_come_at_once_are_answered_by_one_pong(world: World) -> None:
    await world.accept()
    pings = (Frame(Opcode.PING, str(number).encode()).serialize(mask=True) for number in range(10))
    world.socket.dataReceived(b"".join(pings))
    assert world.client.recv(100) == pong_frame(b"9")


#: Frames that cost a client nothing to send.
ASIDES = {
    "ping": [Frame(Opcode.PING, b"x")] * 4,
    "pong": [Frame(Opcode.PONG, b"")] * 4,
    "empty fragments": [Frame(Opcode.TEXT, b"", fin=False), *[Frame(Opcode.CONT, b"", fin=False)] * 3],
    "small fragments": [Frame(Opcode.TEXT, b"x", fin=False), *[Frame(Opcode.CONT, b"x", fin=False)] * 3],
    "messages in two parts": [
        *[Frame(Opcode.TEXT, b"x", fin=False), Frame(Opcode.CONT, b"", fin=True)] * 3,
        Frame(Opcode.TEXT, b"x", fin=False),
    ],
}


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("kind", ASIDES)
async def test_a_client_that_floods_with_frames_is_cut_and_told_why(world: World, kind: str, at_once: bool) -> None:
    world.house.limits = replace(LIMITS, flood=Rate(1e-6, 3))
    await world.accept()
    frames = [frame.serialize(mask=True) for frame in ASIDES[kind]]
    for data in [b"".join(frames)] if at_once else frames:
        assert not world.refused
        world.socket.dataReceived(data)
    assert world.client.recv(1_000).endswith(close_frame(1_008, module.FLOODED))
    assert (world.refused, world.scope["about"]["violated"]) == (["flood"], True)
    assert world.connection.told[-1] == "lose"
    world.socket.dataReceived(b"".join(frames))
    assert world.refused == ["flood"]
    world.socket.connectionLost()
    await turns()
    assert world.received[-1] == {"type": "websocket.disconnect", "code": 1_008}


async def test_messages_and_large_fragments_are_no_flood_of_frames(world: World) -> None:
    world.house.limits = replace(LIMITS, message_bytes=100_000, frame_bytes=100_000, flood=Rate(1e-6, 3))
    world.house.open(world.connection, {"type": "websocket"}, KEY)
    await turns()
    await world.accept()
    part = b"x" * SMALL_FRAGMENT
    parts = [Frame(Opcode.TEXT, part, fin=False), *[Frame(Opcode.CONT, part, fin=False)] * 9, Frame(Opcode.CONT, b"")]
    for frame in parts + [Frame(Opcode.TEXT, b"x")] * 10:
        world.socket.dataReceived(frame.serialize(mask=True))
        await turns()
    assert not world.refused
    assert [len(message["text"]) for message in world.received[-11:]] == [10 * SMALL_FRAGMENT, *[1] * 10]


class Busy:
    """An application that is carrying out what a client asked for, however long that takes."""

    def __init__(self) -> None:
        self.ended = False

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


@pytest.fixture
async def busy_world() -> Any:
    """A connection whose application takes nothing of what was sent after the handshake."""
    ours, theirs = tcp_pair()
    with ours, theirs:
        connection, application = Connection(ours), Busy()
        house = WebSocketHouse(application, LIMITS, lambda _rule: None)
        house.open(connection, {"type": "websocket"}, KEY)
        await turns()
        yield connection, theirs, application, house
        house.cancel()
        await turns()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        ours.setblocking(False)
        return ours, theirs


async def test_what_a_client_asked_for_that_is_gone_is_left_undone_at_once(busy_world: Any) -> None:
    connection, _, application, _ = busy_world
    connection.protocol.connectionLost()
    await until(lambda: application.ended)


async def test_the_end_of_a_client_is_noticed_while_its_socket_is_not_read(busy_world: Any) -> None:
    connection, theirs, _, house = busy_world
    for _ in range(QUEUE_MESSAGES + 1):
        connection.protocol.dataReceived(Frame(Opcode.TEXT, b"command").serialize(mask=True))
    assert connection.told[-1] == "pause"
    connection.protocol.check(time.monotonic() + 3_600)
    house.check()
    assert connection.told[-1] == "pause", "it cannot answer pings that are not read"
    theirs.close()

    def noticed() -> bool:
        house.check()
        return "abort" in connection.told

    await until(noticed)


async def test_of_what_comes_at_once_no_more_is_read_than_there_is_room_for(busy_world: Any) -> None:
    connection, *_ = busy_world
    command = Frame(Opcode.TEXT, b"command").serialize(mask=True)
    connection.protocol.dataReceived(command * 100 + Frame(Opcode.TEXT, b"last").serialize(mask=True))
    assert len(connection.protocol.inflow) == QUEUE_MESSAGES + 1
    assert connection.told[-1] == "pause"
    taken = [await connection.protocol.receive() for _ in range(101)]
    assert [message["text"] for message in taken] == ["command"] * 100 + ["last"]
    assert (connection.told.count("resume"), connection.told[-1]) == (2, "resume"), "at first, and when all of it was taken"


async def test_what_was_left_unread_goes_with_its_connection(busy_world: Any) -> None:
    connection, *_ = busy_world
    connection.protocol.dataReceived(Frame(Opcode.TEXT, b"command").serialize(mask=True) * 100)
    connection.protocol.connectionLost()
    assert (await connection.protocol.receive())["type"] == "websocket.disconnect"
    assert len(connection.protocol.inflow) == 0


async def test_an_application_may_take_a_message_past_those_that_wait_for_it(busy_world: Any) -> None:
    connection, *_ = busy_world
    asked: list[str | bytes] = []

    def hear(message: str | bytes) -> bool:
        asked.append(message)
        return message == "3"

    connection.protocol._about["hear"] = hear
    for text in (b"4", b"3", b"4"):
        connection.protocol.dataReceived(Frame(Opcode.TEXT, text).serialize(mask=True))
    assert (asked, len(connection.protocol.inflow)) == (["4", "3", "4"], 2)


async def test_what_an_application_told_of_itself_goes_with_it(world: World) -> None:
    world.socket._about["sid"] = lambda: "abc"
    world.release.set()
    await until(lambda: world.socket._task is None)
    assert world.socket.sid == ""
