import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.protocol.engineio_codec import (
    MAX_PAYLOAD_PACKETS,
    Packet,
    PacketType,
    decode_packet,
    decode_payload,
    encode_packet,
    encode_payload,
)
from events.protocol.errors import ProtocolError

quick = settings(derandomize=True, deadline=None, max_examples=150)

TEXTS = st.text(st.characters(exclude_characters="\x1e", exclude_categories=["Cs"]))
PACKETS = st.builds(Packet, st.sampled_from(PacketType), TEXTS) | st.builds(Packet, st.just(PacketType.MESSAGE), st.binary())

FRAMES = [
    ("0{}", Packet(PacketType.OPEN, "{}")),
    ("1", Packet(PacketType.CLOSE)),
    ("2", Packet(PacketType.PING)),
    ("2probe", Packet(PacketType.PING, "probe")),
    ("3", Packet(PacketType.PONG)),
    ("4", Packet(PacketType.MESSAGE)),
    ("4hello", Packet(PacketType.MESSAGE, "hello")),
    ("4b", Packet(PacketType.MESSAGE, "b")),
    ("5", Packet(PacketType.UPGRADE)),
    ("6", Packet(PacketType.NOOP)),
    (b"\x01\x02", Packet(PacketType.MESSAGE, b"\x01\x02")),
    (b"", Packet(PacketType.MESSAGE, b"")),
]


@pytest.mark.parametrize(("frame", "packet"), FRAMES)
def test_packets_and_their_frames(frame: str | bytes, packet: Packet) -> None:
    assert decode_packet(frame) == packet
    assert encode_packet(packet) == frame


@pytest.mark.parametrize("frame", ["", "7", "9", "abc", "bAQIDBA==", " 4", "-1", "²", "٤hello", "\x1e", "\ud800"])
def test_frames_that_are_no_packet(frame: str) -> None:
    with pytest.raises(ProtocolError):
        decode_packet(frame)


def test_only_messages_carry_bytes() -> None:
    with pytest.raises(ValueError, match="PING"):
        encode_packet(Packet(PacketType.PING, b"probe"))


def test_a_payload_of_text_and_binary() -> None:
    body = "4hello\x1ebAQIDBA==\x1e3"
    assert encode_payload(["4hello", b"\x01\x02\x03\x04", "3"]) == body
    assert list(decode_payload(body)) == [
        Packet(PacketType.MESSAGE, "hello"),
        Packet(PacketType.MESSAGE, b"\x01\x02\x03\x04"),
        Packet(PacketType.PONG),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "abc",
        "4a\x1e",
        "\x1e4a",
        "4a\x1e\x1e4b",
        "bA",
        "bAQI",
        "bAQID BA==",
        "bAQID\n",
        "b=",
        "bAQ==AQ==",
        "b-_-_",
        "bÀÀÀÀ",
        "b²",
    ],
)
def test_bad_payloads(body: str) -> None:
    with pytest.raises(ProtocolError):
        decode_payload(body)


def test_an_empty_binary_packet_in_a_payload() -> None:
    assert list(decode_payload("b")) == [Packet(PacketType.MESSAGE, b"")]


def test_the_number_of_packets_is_bounded() -> None:
    assert len(list(decode_payload("\x1e".join(["4"] * MAX_PAYLOAD_PACKETS)))) == MAX_PAYLOAD_PACKETS
    with pytest.raises(ProtocolError):
        decode_payload("\x1e".join(["4"] * (MAX_PAYLOAD_PACKETS + 1)))
    with pytest.raises(ProtocolError):
        decode_payload("4\x1e4\x1e4", max_packets=2)


@quick
@given(PACKETS)
def test_packets_survive_the_round_trip(packet: Packet) -> None:
    assert decode_packet(encode_packet(packet)) == packet


@quick
@given(st.lists(PACKETS, min_size=1, max_size=10))
def test_payloads_survive_the_round_trip(packets: list[Packet]) -> None:
    assert list(decode_payload(encode_payload([encode_packet(packet) for packet in packets]))) == packets


@quick
@given(st.text(st.characters()) | st.text("0123456b=A+/\x1e²", max_size=30) | st.binary())
def test_whatever_arrives_is_packets_or_a_protocol_error(received: str | bytes) -> None:
    message = ""
    try:
        decode_packet(received)
        if isinstance(received, str):
            decode_payload(received)
    except ProtocolError as error:
        message = str(error)
    assert len(message) < 100
