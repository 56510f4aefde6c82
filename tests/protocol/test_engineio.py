import math

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.protocol.engineio import (
    Close,
    Deliver,
    EngineConfig,
    EngineSession,
    Packet,
    PacketType,
    ProbeReply,
    RequestError,
    Send,
    Transport,
    Upgraded,
)
from events.protocol.errors import ProtocolError

INTERVAL, TIMEOUT = 0.25, 0.125  # exact in binary, so that times can be compared
OPENED = 1000.0
CONFIG = EngineConfig(ping_interval_ms=250, ping_timeout_ms=125)
PONG = Packet(PacketType.PONG)


def opened(transport: Transport = "polling") -> EngineSession:
    return EngineSession("s1", CONFIG, transport, OPENED)


def probing() -> EngineSession:
    session = opened()
    session.begin_upgrade()
    return session


# -- handshake


@pytest.mark.parametrize(("transport", "upgrades"), [("polling", ["websocket"]), ("websocket", [])])
def test_the_handshake(transport: Transport, upgrades: list[str]) -> None:
    packet = opened(transport).open_packet()
    assert packet[0] == "0"
    assert orjson.loads(packet[1:]) == {
        "sid": "s1",
        "upgrades": upgrades,
        "pingInterval": 250,
        "pingTimeout": 125,
        "maxPayload": 1_000_000,
    }


def test_the_defaults_are_those_of_the_protocol() -> None:
    assert EngineConfig() == EngineConfig(ping_interval_ms=25_000, ping_timeout_ms=20_000, max_payload_bytes=1_000_000)


# -- heartbeat


def test_nothing_is_due_before_the_first_ping() -> None:
    session = opened()
    assert session.deadline == OPENED + INTERVAL
    assert session.tick(OPENED + INTERVAL - 0.001) == []


def test_a_ping_then_the_end() -> None:
    session = opened()
    assert session.tick(OPENED + INTERVAL) == [Send("2")]
    assert session.deadline == OPENED + INTERVAL + TIMEOUT
    assert session.tick(session.deadline - 0.001) == []
    assert session.tick(session.deadline) == [Close("ping timeout")]
    assert session.closed
    assert session.deadline == math.inf
    assert session.tick(OPENED + 1000) == []


def test_a_late_ping_does_not_put_off_the_end() -> None:
    session = opened()
    assert session.tick(OPENED + INTERVAL + TIMEOUT / 2) == [Send("2")]
    assert session.deadline == OPENED + INTERVAL + TIMEOUT


def test_one_tick_ends_a_session_that_nobody_looked_at() -> None:
    session = opened()
    assert session.tick(OPENED + INTERVAL + TIMEOUT) == [Close("ping timeout")]
    assert session.closed


def test_a_pong_starts_the_next_round() -> None:
    session = opened()
    now = OPENED
    for _ in range(3):
        assert session.tick(now + INTERVAL) == [Send("2")]
        now += INTERVAL + TIMEOUT / 2
        assert session.receive(PONG, now) == []
        assert session.deadline == now + INTERVAL


def test_a_pong_that_nobody_asked_for_puts_off_the_ping() -> None:
    session = opened()
    assert session.receive(PONG, OPENED + TIMEOUT) == []
    assert session.deadline == OPENED + TIMEOUT + INTERVAL


# -- packets


@pytest.mark.parametrize("data", ["hello", "", b"\x01"])
def test_messages_are_delivered_and_leave_the_heartbeat_alone(data: str | bytes) -> None:
    session = opened()
    assert session.receive(Packet(PacketType.MESSAGE, data), OPENED + 0.1) == [Deliver(data)]
    assert session.deadline == OPENED + INTERVAL


def test_a_close_packet_ends_the_session() -> None:
    session = opened()
    assert session.receive(Packet(PacketType.CLOSE), OPENED) == [Close("transport close")]
    assert session.closed
    assert session.receive(Packet(PacketType.MESSAGE, "late"), OPENED) == []


@pytest.mark.parametrize("packet_type", [PacketType.OPEN, PacketType.PING, PacketType.UPGRADE, PacketType.NOOP])
@pytest.mark.parametrize("data", ["", "probe"])
def test_packets_that_are_not_for_clients_to_send(packet_type: PacketType, data: str) -> None:
    with pytest.raises(ProtocolError, match=packet_type.name):
        opened().receive(Packet(packet_type, data), OPENED)


def test_closing_twice_is_closing_once() -> None:
    session = probing()
    session.close()
    session.close()
    assert (session.closed, session.upgrading) == (True, False)


# -- upgrade


def test_a_whole_upgrade() -> None:
    session = opened()
    session.begin_upgrade()
    assert (session.upgrading, session.transport) == (True, "polling")
    assert session.receive_probe("2probe") == ProbeReply("3probe")
    assert (session.upgrading, session.transport) == (True, "polling")
    assert session.receive_probe("5") == Upgraded()
    assert (session.upgrading, session.transport) == (False, "websocket")


def test_long_polling_goes_on_during_a_probe() -> None:
    session = probing()
    session.receive_probe("2probe")
    assert session.receive(Packet(PacketType.MESSAGE, "hello"), OPENED) == [Deliver("hello")]
    assert session.tick(OPENED + INTERVAL) == [Send("2")]


def test_an_upgrade_does_not_touch_the_heartbeat() -> None:
    session = probing()
    session.tick(OPENED + INTERVAL)
    session.receive_probe("2probe")
    session.receive_probe("5")
    assert session.tick(OPENED + INTERVAL + TIMEOUT) == [Close("ping timeout")]


@pytest.mark.parametrize("first", [None, "2probe"])
@pytest.mark.parametrize("frame", ["", "2", "2probe ", "3probe", "4hello", "5x", "1", b"2probe", b"5"])
def test_a_bad_probe_leaves_the_session_polling(first: str | None, frame: str | bytes) -> None:
    session = probing()
    if first:
        session.receive_probe(first)
    with pytest.raises(ProtocolError):
        session.receive_probe(frame)
    assert (session.transport, session.upgrading, session.closed) == ("polling", False, False)


@pytest.mark.parametrize(("before", "frame"), [([], "5"), (["2probe"], "2probe")])
def test_the_steps_of_an_upgrade_have_one_order(before: list[str], frame: str) -> None:
    session = probing()
    for earlier in before:
        session.receive_probe(earlier)
    with pytest.raises(ProtocolError):
        session.receive_probe(frame)
    assert session.transport == "polling"


def test_a_cancelled_probe_cannot_go_on_and_the_next_begins_anew() -> None:
    session = probing()
    session.receive_probe("2probe")
    session.cancel_upgrade()
    with pytest.raises(ProtocolError):
        session.receive_probe("5")
    session.begin_upgrade()
    with pytest.raises(ProtocolError):
        session.receive_probe("5")


def test_sessions_that_cannot_be_upgraded() -> None:
    closed = opened()
    closed.close()
    upgraded = probing()
    upgraded.receive_probe("2probe")
    upgraded.receive_probe("5")
    for session in (closed, upgraded, probing(), opened("websocket")):
        with pytest.raises(RequestError) as caught:
            session.begin_upgrade()
        assert caught.value.code == 3


def test_a_second_probe_does_not_disturb_the_first() -> None:
    session = probing()
    session.receive_probe("2probe")
    with pytest.raises(RequestError):
        session.begin_upgrade()
    assert session.receive_probe("5") == Upgraded()


def test_a_session_that_closes_during_a_probe_is_not_upgraded() -> None:
    session = probing()
    session.receive_probe("2probe")
    session.close()
    with pytest.raises(ProtocolError):
        session.receive_probe("5")
    assert session.transport == "polling"


# -- any client


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(["tick", "pong", "message"]), st.floats(0, 0.3)), max_size=40))
def test_a_session_lives_exactly_as_long_as_its_pongs_are_in_time(steps: list[tuple[str, float]]) -> None:
    session, now, end = opened(), OPENED, OPENED + INTERVAL + TIMEOUT
    for step, passed in steps:
        now += passed
        actions = session.tick(now)
        assert session.closed == (now >= end)
        assert session.deadline > now
        assert len(actions) <= 1
        if session.closed:
            return
        if step == "pong":
            session.receive(PONG, now)
            end = now + INTERVAL + TIMEOUT
        elif step == "message":
            session.receive(Packet(PacketType.MESSAGE, "x"), now)
