"""Engine.IO connections: heartbeat, long-polling, the upgrade, and the ways to end."""

import asyncio
import gc
import weakref
from typing import Any, Literal

import orjson
import pytest

from events import alarms as alarms_module
from events import connection as connection_module
from events.connection import EngineConnection, EngineEndpoint, HangUp
from events.fanout.session import ClientInfo
from events.fanout.wire import Pipe, WireMessage
from events.pipes import PollingPipe
from events.protocol.engineio import EngineConfig, Packet, PacketType, RequestError, decode_packet
from events.protocol.errors import ProtocolError
from tests.fanout.support import RecordingPipe, turns, until


class Endpoint(EngineEndpoint):
    """An endpoint on a clock that the test sets."""

    time = 0.0

    def now(self) -> float:
        return self.time


class App:
    """An application that notes what happens to it."""

    def __init__(self, connection: EngineConnection) -> None:
        self.connection = connection
        self.messages: list[str | bytes] = []
        self.upgrades = 0
        self.ended: list[str] = []
        self.busy = asyncio.Event()
        self.busy.set()

    async def opened(self) -> None:
        self.connection.send("welcome")

    async def message(self, data: str | bytes) -> None:
        self.messages.append(data)
        if data == "bad":
            raise ProtocolError("not that")
        await self.busy.wait()

    def upgraded(self) -> None:
        self.upgrades += 1

    async def closed(self, reason: str) -> None:
        self.ended.append(reason)


class Socket:
    """The WebSocket below a connection."""

    def __init__(self) -> None:
        self.pipe = RecordingPipe()
        self.hung_up = 0
        #: What a consumer has: the connection knows its `hang_up`, and it knows the connection.
        self.keeps: Any = None

    def hang_up(self, code: int = 1_000, reason: str = "") -> None:
        self.hung_up += 1

    @property
    def texts(self) -> list[str]:
        return [message.payload.decode() for message in self.pipe.messages]


@pytest.fixture
def endpoint() -> Endpoint:
    endpoint = Endpoint(App, EngineConfig(ping_interval_ms=25_000, ping_timeout_ms=20_000))
    endpoint.spread = 0.0
    return endpoint


async def opened(
    endpoint: Endpoint, transport: Literal["polling", "websocket"], pipe: Pipe, hang_up: HangUp | None = None
) -> tuple[EngineConnection, App]:
    connection = endpoint.create(transport, pipe, ClientInfo())
    await connection.open(hang_up)
    assert isinstance(connection.app, App)
    return connection, connection.app


async def over_websocket(endpoint: Endpoint) -> tuple[EngineConnection, App, Socket]:
    socket = Socket()
    connection, app = await opened(endpoint, "websocket", socket.pipe, socket.hang_up)
    return connection, app, socket


async def over_polling(endpoint: Endpoint) -> tuple[EngineConnection, App, PollingPipe]:
    pipe = PollingPipe()
    connection, app = await opened(endpoint, "polling", pipe)
    pipe.take()
    return connection, app, pipe


# -- in and out ----------------------------------------------------------------------------------------------------------


async def test_the_handshake_is_the_first_packet(endpoint: Endpoint) -> None:
    connection, _, socket = await over_websocket(endpoint)
    assert orjson.loads(socket.texts[0][1:]) == {
        "sid": connection.sid,
        "upgrades": [],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }
    assert socket.texts[1] == "4welcome"
    assert endpoint.find(connection.sid) is connection


async def test_messages_reach_the_application_one_at_a_time(endpoint: Endpoint) -> None:
    connection, app, _ = await over_websocket(endpoint)
    app.busy.clear()
    first = asyncio.create_task(connection.receive(decode_packet("4one")))
    second = asyncio.create_task(connection.receive(decode_packet(b"two")))
    await turns()
    assert app.messages == ["one"]
    app.busy.set()
    await asyncio.gather(first, second)
    assert app.messages == ["one", b"two"]


async def test_binary_goes_out_as_binary(endpoint: Endpoint) -> None:
    connection, _, socket = await over_websocket(endpoint)
    connection.send(b"\x00\x01")
    assert socket.pipe.binary == [b"\x00\x01"]


async def test_what_comes_after_the_end_is_ignored(endpoint: Endpoint) -> None:
    connection, app, _ = await over_websocket(endpoint)
    connection.close("transport close")
    await connection.receive(decode_packet("4late"))
    assert app.messages == []


# -- heartbeat -----------------------------------------------------------------------------------------------------------


async def test_a_ping_is_sent_when_it_is_due_and_a_pong_puts_off_the_next(endpoint: Endpoint) -> None:
    connection, _, socket = await over_websocket(endpoint)
    for start in (0.0, 30.0):
        endpoint.time = start + 24.9
        connection.check_time()
        assert "2" not in socket.texts
        endpoint.time = start + 25.0
        connection.check_time()
        assert socket.texts.pop() == "2"
        socket.pipe.messages.clear()
        endpoint.time = start + 30.0
        await connection.receive(Packet(PacketType.PONG))
    assert not connection.closed


async def test_a_peer_that_does_not_answer_is_closed(endpoint: Endpoint) -> None:
    connection, app, socket = await over_websocket(endpoint)
    endpoint.time = 25.0
    connection.check_time()
    endpoint.time = 45.0
    connection.check_time()
    await until(lambda: app.ended)
    assert (app.ended, socket.hung_up) == (["ping timeout"], 1)
    assert endpoint.connections == {}


async def test_the_timer_rings_by_itself() -> None:
    brisk = EngineEndpoint(App, EngineConfig(ping_interval_ms=20, ping_timeout_ms=1_000))
    socket = Socket()
    connection = brisk.create("websocket", socket.pipe, ClientInfo())
    await connection.open(socket.hang_up)
    await until(lambda: socket.hung_up)
    assert "2" in socket.texts
    assert connection.closed


async def test_clients_that_come_at_the_same_time_are_not_pinged_at_the_same_time(endpoint: Endpoint) -> None:
    endpoint.spread = 0.5
    connections = [endpoint.create("websocket", RecordingPipe(), ClientInfo()) for _ in range(200)]
    waits = sorted(connection.session.deadline for connection in connections)
    # Of 200 that are spread evenly: six standard deviations from where each is expected.
    assert 12.5 <= waits[0] < waits[50] < 18 < 19.5 < waits[150] < waits[-1] <= 25


async def test_pongs_that_waited_while_the_process_was_held_up_are_let_in_first(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms_module, "HELD_UP_S", 0.05)
    connection, _, socket = await over_websocket(endpoint)
    endpoint.time = 25.0
    connection.check_time()
    assert socket.texts[-1] == "2"
    endpoint.time = 90.0
    endpoint.alarms.ring()
    assert not connection.closed
    await connection.receive(Packet(PacketType.PONG))
    await asyncio.sleep(0.1)
    assert not connection.closed


async def test_a_session_whose_time_ran_out_cannot_be_found(endpoint: Endpoint) -> None:
    connection, app, _ = await over_polling(endpoint)
    endpoint.time = 100.0
    assert endpoint.find(connection.sid) is None
    await until(lambda: app.ended)
    assert app.ended == ["ping timeout"]


# -- the end -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frame", "reason"), [("1", "transport close"), ("4bad", "parse error"), ("2", "parse error")])
async def test_why_a_connection_ended(endpoint: Endpoint, frame: str, reason: str) -> None:
    connection, app, socket = await over_websocket(endpoint)
    await connection.receive(decode_packet(frame))
    await until(lambda: app.ended)
    assert (app.ended, socket.hung_up, connection.closed) == ([reason], 1, True)


async def test_a_connection_ends_once(endpoint: Endpoint) -> None:
    connection, app, socket = await over_websocket(endpoint)
    connection.close("first")
    connection.close("second")
    await until(lambda: app.ended)
    await turns()
    assert (app.ended, socket.hung_up) == (["first"], 1)


async def test_all_connections_can_be_ended(endpoint: Endpoint) -> None:
    apps = [(await over_websocket(endpoint))[1] for _ in range(3)]
    endpoint.close_all("server shutting down")
    await until(lambda: all(app.ended for app in apps))
    assert [app.ended for app in apps] == [["server shutting down"]] * 3
    assert endpoint.connections == {}


@pytest.mark.parametrize(("frame", "answer"), [("1", "6"), ("4bad", "1")])
async def test_an_open_poll_is_answered_at_the_end(endpoint: Endpoint, frame: str, answer: str) -> None:
    connection, _, _ = await over_polling(endpoint)
    poll = asyncio.create_task(connection.poll())
    await turns()
    await connection.receive(decode_packet(frame))
    assert await poll == answer


# -- long-polling --------------------------------------------------------------------------------------------------------


async def test_a_poll_waits_for_something_to_say(endpoint: Endpoint) -> None:
    connection, _, _ = await over_polling(endpoint)
    poll = asyncio.create_task(connection.poll())
    await turns()
    assert not poll.done()
    connection.send("a")
    connection.send("b")
    assert await poll == "4a\x1e4b"


async def test_a_second_poll_at_once_ends_the_connection(endpoint: Endpoint) -> None:
    connection, app, _ = await over_polling(endpoint)
    first = asyncio.create_task(connection.poll())
    await turns()
    with pytest.raises(ProtocolError, match="overlapping"):
        await connection.poll()
    assert await first == "1"
    await until(lambda: app.ended)
    assert app.ended == ["parse error"]


async def test_a_websocket_cannot_be_polled(endpoint: Endpoint) -> None:
    connection, _, _ = await over_websocket(endpoint)
    with pytest.raises(RequestError):
        await connection.poll()


# -- upgrade -------------------------------------------------------------------------------------------------------------


async def test_an_upgrade_hands_over_what_waited_and_nothing_twice(endpoint: Endpoint) -> None:
    connection, app, _ = await over_polling(endpoint)
    socket = Socket()
    poll = asyncio.create_task(connection.poll())
    await turns()
    connection.begin_upgrade(socket.hang_up)
    connection.session.receive_probe("2probe")
    connection.release_poll()
    assert await poll == "6"
    connection.send("while changing over")
    connection.send(b"\x01")
    connection.session.receive_probe("5")
    connection.finish_upgrade(socket.pipe, socket.hang_up)
    connection.send("after")
    assert socket.texts == ["4while changing over", "4after"]
    assert socket.pipe.binary == [b"\x01"]
    assert (app.upgrades, socket.hung_up, connection.session.transport) == (1, 0, "websocket")


async def test_an_upgrade_that_finishes_while_a_poll_is_open_ends_the_poll(endpoint: Endpoint) -> None:
    connection, _, _ = await over_polling(endpoint)
    socket = Socket()
    poll = asyncio.create_task(connection.poll())
    await turns()
    connection.begin_upgrade(socket.hang_up)
    for frame in ("2probe", "5"):
        connection.session.receive_probe(frame)
    connection.finish_upgrade(socket.pipe, socket.hang_up)
    connection.send("live")
    assert await poll == "6"
    assert socket.texts == ["4live"]


async def test_an_upgrade_that_is_not_finished_in_time_is_dropped_and_polling_goes_on(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "UPGRADE_TIMEOUT_S", 0.02)
    connection, _, _ = await over_polling(endpoint)
    socket = Socket()
    connection.begin_upgrade(socket.hang_up)
    await until(lambda: socket.hung_up)
    assert not connection.session.upgrading
    connection.send("still here")
    assert await connection.poll() == "4still here"
    again = Socket()
    connection.begin_upgrade(again.hang_up)


async def test_a_second_upgrade_at_once_is_refused(endpoint: Endpoint) -> None:
    connection, _, _ = await over_polling(endpoint)
    first, second = Socket(), Socket()
    connection.begin_upgrade(first.hang_up)
    with pytest.raises(RequestError):
        connection.begin_upgrade(second.hang_up)
    for frame in ("2probe", "5"):
        connection.session.receive_probe(frame)
    connection.finish_upgrade(first.pipe, first.hang_up)
    assert (first.hung_up, second.hung_up) == (0, 0)


async def test_a_connection_that_ends_takes_its_probe_along(endpoint: Endpoint) -> None:
    connection, app, _ = await over_polling(endpoint)
    socket = Socket()
    connection.begin_upgrade(socket.hang_up)
    connection.close("transport close")
    await until(lambda: app.ended)
    assert socket.hung_up == 1


async def test_a_poll_during_an_upgrade_is_answered_at_once(endpoint: Endpoint) -> None:
    connection, _, pipe = await over_polling(endpoint)
    connection.begin_upgrade(Socket().hang_up)
    assert await connection.poll() == "6"
    pipe.write(WireMessage(b"4x"))
    assert await connection.poll() == "4x"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_connection_that_ended_leaves_nothing_to_the_garbage_collector(
    endpoint: Endpoint, transport: Literal["polling", "websocket"]
) -> None:
    gc.collect()
    gc.disable()
    try:
        left = await ended_application(endpoint, transport)
        await until(lambda: left() is None)
    finally:
        gc.enable()


async def ended_application(endpoint: Endpoint, transport: Literal["polling", "websocket"]) -> weakref.ref[App]:
    socket = Socket()
    socket.keeps = await opened(endpoint, transport, PollingPipe() if transport == "polling" else socket.pipe, socket.hang_up)
    connection, app = socket.keeps
    connection.close("transport close")
    await until(lambda: app.ended)
    return weakref.ref(app)
