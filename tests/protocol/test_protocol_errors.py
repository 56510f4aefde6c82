"""What a protocol error says is logged, and so repeats nothing of what a peer sent: a token may stand anywhere in it."""

from collections.abc import Callable

import pytest

from events.protocol.engineio import EngineConfig, EngineSession
from events.protocol.engineio_codec import decode_packet, decode_payload
from events.protocol.errors import ProtocolError, size_of
from events.protocol.socketio import SocketIOServer

TOKEN = "tok-0123456789"

#: Socket.IO frames; the last of each row is broken.
FRAMES = [
    [f'40{{"token":"{TOKEN}"'],
    [f'40"{TOKEN}"'],
    [f"40{TOKEN}"],
    [f"40/{TOKEN}\x00,"],
    ["40", f"42[\"authenticate\",{{'token':'{TOKEN}'}}]"],
    ["40", f'42"{TOKEN}"'],
    ["40", f'42[["{TOKEN}"]]'],
    ["40", TOKEN],
    ["40", f'42/{TOKEN},["authenticate"]'],
    ["40", f'43["{TOKEN}"]'],
    ["40", f"4{TOKEN}"],
    ["40", f'451-["{TOKEN}"]'],
]


def test_a_protocol_error_is_a_value_error() -> None:
    assert issubclass(ProtocolError, ValueError)


def test_how_long_something_is() -> None:
    assert [size_of("2probe"), size_of(b"\xff\x00")] == ["6 characters", "2 bytes"]


@pytest.mark.parametrize("frames", FRAMES, ids=[frames[-1][:12] for frames in FRAMES])
def test_broken_packets_are_not_repeated(frames: list[str]) -> None:
    session = SocketIOServer(["/"])
    *before, broken = frames
    for frame in before:
        session.receive(frame[1:])
        session.accept("/", "sid")
    with pytest.raises(ProtocolError) as error:
        session.receive(broken[1:])
    assert TOKEN[:8] not in str(error.value)


@pytest.mark.parametrize(
    "read",
    [
        decode_packet,
        lambda text: list(decode_payload("b" + text)),
        lambda text: EngineSession("sid", EngineConfig(), "polling", 0.0).receive_probe(text),
    ],
    ids=["frame", "base64", "probe"],
)
def test_broken_frames_are_not_repeated(read: Callable[[str], object]) -> None:
    with pytest.raises(ProtocolError) as error:
        read(TOKEN)
    assert TOKEN[:8] not in str(error.value)
    assert "14 characters" in str(error.value) or "15 characters" in str(error.value)
