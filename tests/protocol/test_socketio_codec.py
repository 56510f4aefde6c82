from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.protocol.errors import ProtocolError
from events.protocol.socketio_codec import (
    MAX_ACK_ID_DIGITS,
    MAX_JSON_DEPTH,
    MAX_NAMESPACE_CHARS,
    Decoder,
    Packet,
    PacketType,
    encode,
)

quick = settings(derandomize=True, deadline=None, max_examples=150)

EVENT, ACK = PacketType.EVENT, PacketType.ACK
TWO = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'


def decoder(max_attachments: int = 10, max_bytes: int = 1000) -> Decoder:
    return Decoder(max_attachments, max_bytes)


def decode(frames: list[str | bytes]) -> Packet | None:
    """What the last frame completes; the ones before it must complete nothing."""
    reading = decoder()
    for frame in frames[:-1]:
        assert reading.feed(frame) is None
    return reading.feed(frames[-1])


# -- well-formed packets, both ways

BOTH_WAYS: list[tuple[Packet, list[str | bytes]]] = [
    (Packet(PacketType.CONNECT), ["0"]),
    (Packet(PacketType.CONNECT, data={"sid": "x"}), ['0{"sid":"x"}']),
    (Packet(PacketType.CONNECT, "/custom", {"sid": "x"}), ['0/custom,{"sid":"x"}']),
    (Packet(PacketType.DISCONNECT), ["1"]),
    (Packet(PacketType.DISCONNECT, "/custom"), ["1/custom,"]),
    (
        Packet(PacketType.CONNECT_ERROR, "/random", {"message": "Invalid namespace"}),
        ['4/random,{"message":"Invalid namespace"}'],
    ),
    (Packet(EVENT, data=["message-back", 1, "2", {"3": [True]}]), ['2["message-back",1,"2",{"3":[true]}]']),
    (Packet(EVENT, "/a", ["é", None], 7), ['2/a,7["é",null]']),
    (Packet(EVENT, data=[1]), ["2[1]"]),
    (Packet(EVENT, data=["x", {"_placeholder": True, "num": 0}]), ['2["x",{"_placeholder":true,"num":0}]']),
    (Packet(ACK, data=[1, "2", {"3": [False]}], id=456), ['3456[1,"2",{"3":[false]}]']),
    (Packet(ACK, data=[], id=0), ["30[]"]),
    (Packet(EVENT, data=["message-back", b"\1\2\3", b"\4\5\6"]), [f'52-["message-back",{TWO}]', b"\1\2\3", b"\4\5\6"]),
    (Packet(ACK, data=[b"\1\2\3", b"\4\5\6"], id=789), [f"62-789[{TWO}]", b"\1\2\3", b"\4\5\6"]),
    (
        Packet(EVENT, "/n", ["x", {"a": {"b": [b"1"]}}, b""], 3),
        [f'52-/n,3["x",{{"a":{{"b":[{TWO[:29]}]}}}},{TWO[30:]}]', b"1", b""],
    ),
]


@pytest.mark.parametrize(("packet", "frames"), BOTH_WAYS)
def test_packets_and_their_frames(packet: Packet, frames: list[str | bytes]) -> None:
    assert encode(packet) == frames
    assert decode(frames) == packet


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0/custom", Packet(PacketType.CONNECT, "/custom")),
        ("0/,{}", Packet(PacketType.CONNECT, "/", {})),
        ("0/custom?x=1,", Packet(PacketType.CONNECT, "/custom")),
        ('0/custom?x=1&y=[],{"token":"abc"}', Packet(PacketType.CONNECT, "/custom", {"token": "abc"})),
        ("0/?x=1", Packet(PacketType.CONNECT)),
        ("1/custom", Packet(PacketType.DISCONNECT, "/custom")),
        ("01{}", Packet(PacketType.CONNECT, data={}, id=1)),
        ('4"no"', Packet(PacketType.CONNECT_ERROR, data="no")),
        ('2007 ["x"]', Packet(EVENT, data=["x"], id=7)),
        ('50-["x"]', Packet(EVENT, data=["x"])),
        ("60-1[]", Packet(ACK, data=[], id=1)),
        ('2/a,["b,c"]', Packet(EVENT, "/a", ["b,c"])),
    ],
)
def test_texts_that_have_a_shorter_form(text: str, packet: Packet) -> None:
    assert decode([text]) == packet


def test_attachments_are_placed_by_number_and_not_by_order() -> None:
    text = '52-["x",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]'
    assert decode([text, b"first", b"second"]) == Packet(EVENT, data=["x", b"second", b"first"])


def test_an_explicit_binary_type_may_have_no_attachments() -> None:
    assert encode(Packet(PacketType.BINARY_EVENT, data=["x"])) == ['50-["x"]']


@pytest.mark.parametrize("packet", [Packet(EVENT, data=["x", object()]), Packet(PacketType.CONNECT, data={"x": b"1"})])
def test_what_cannot_be_encoded(packet: Packet) -> None:
    with pytest.raises(TypeError):
        encode(packet)


# -- malformed packets

MALFORMED = {
    "nothing": ["", " ", "abc", "7", "9[]", "-1", "²", "٢[]", "/", "\ud800"],
    "connect": ["0null", "0[]", '0"x"', "0{", "0{}{}", '0/custom{"a":1,"b":2}'],
    "disconnect": ["1null", "1{}", "1[]", '1/custom,"x"'],
    "connect error": ["4null", "4[]", "4true"],
    "event": [
        "2",
        "2{}",
        "2[]",
        "2null",
        '2"x"',
        "2[null]",
        "2[true]",
        "2[[]]",
        "2[{}]",
        '2["x"',
        '2["x"]]',
        '2["x",NaN]',
        '2["\ud800"]',
    ],
    "reserved": [
        f'2["{name}"]' for name in ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
    ],
    "reserved, escaped": ['2["\\u0063onnect"]', '50-["connect"]'],
    "ack": ["3", "31", "31{}", '31"x"', "3[]", "31null"],
    "id": [
        '2abc["x"]',
        '2²["x"]',
        '2٣["x"]',
        '2-1["x"]',
        '21.5["x"]',
        f'2{"1" * (MAX_ACK_ID_DIGITS + 1)}["x"]',
        f'2{"1" * 5000}["x"]',
    ],
    "count": [
        '5["x"]',
        '5-["x"]',
        '5²-["x"]',
        '5-1-["x"]',
        '51.0-["x"]',
        '511-["x"]',
        f'5{"9" * 5000}-["x"]',
        '21-["x"]',
        "6-1[]",
        "01-",
    ],
    "too few placeholders": ['51-["x"]', '52-["x",{"_placeholder":true,"num":0}]'],
    "too many placeholders": ['50-["x",{"_placeholder":true,"num":0}]', f'51-["x",{TWO}]'],
    "placeholder numbers": [
        f'51-["x",{{"_placeholder":true{num}}}]'
        for num in (
            "",
            ',"num":1',
            ',"num":-1',
            ',"num":0.0',
            ',"num":"0"',
            ',"num":false',
            ',"num":null',
            ',"num":[]',
            ',"num":1e400',
        )
    ],
    "placeholder twice": [
        f'5{count}-["x",{{"_placeholder":true,"num":0}},{{"_placeholder":true,"num":0}}]' for count in (1, 2)
    ],
    "placeholder as the name": ['51-[{"_placeholder":true,"num":0}]'],
    "namespace": [f"0/{'n' * MAX_NAMESPACE_CHARS}", "0/a\n,", "0/\x1e", "0/\ud800,"],
    "depth": [f'2["x",{"[" * depth}{"]" * depth}]' for depth in (MAX_JSON_DEPTH + 1, 900, 2_000, 100_000)]
    + [f'51-["x",{"[" * 900}{{"_placeholder":true,"num":0}}{"]" * 900}]'],
}


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=f"{kind}-{n}") for kind, texts in MALFORMED.items() for n, text in enumerate(texts)]
)
def test_malformed_texts(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decoder().feed(text)
    assert len(str(caught.value)) < 120


def test_what_is_deep_but_allowed_can_be_sent_back() -> None:
    depth = MAX_JSON_DEPTH - 1
    packet = decode([f'2["x",{"[" * depth}{"]" * depth}]'])
    assert packet is not None
    assert decode(encode(packet)) == packet


def test_an_attachment_of_no_packet() -> None:
    with pytest.raises(ProtocolError):
        decoder().feed(b"\1")


def test_text_while_attachments_are_outstanding() -> None:
    reading = decoder()
    assert reading.feed(f'52-["x",{TWO}]') is None
    assert reading.feed(b"\1") is None
    with pytest.raises(ProtocolError):
        reading.feed('2["x"]')


def test_after_an_error_nothing_is_held() -> None:
    reading = decoder()
    reading.feed(f'52-["x",{TWO}]')
    with pytest.raises(ProtocolError):
        reading.feed("abc")
    assert reading.feed('2["x"]') == Packet(EVENT, data=["x"])


def test_the_bytes_of_all_attachments_together_are_bounded() -> None:
    reading = decoder(max_bytes=10)
    reading.feed(f'52-["x",{TWO}]')
    assert reading.feed(bytes(6)) is None
    with pytest.raises(ProtocolError):
        reading.feed(bytes(5))
    reading.feed(f'52-["x",{TWO}]')
    assert reading.feed(bytes(6)) is None
    assert reading.feed(bytes(4)) is not None


def test_the_number_of_attachments_is_bounded() -> None:
    assert decoder(max_attachments=2).feed(f'52-["x",{TWO}]') is None
    with pytest.raises(ProtocolError):
        decoder(max_attachments=1).feed(f'52-["x",{TWO}]')


# -- any packet, any frame

NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=",?"), max_size=20)
NAMESPACES = st.builds("/{}".format, NAMES)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
KEYS = st.text().filter(lambda key: key != "_placeholder")


def values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
    )


IDS = st.integers(0, 10**MAX_ACK_ID_DIGITS - 1)
EVENT_NAMES = st.text().filter(lambda name: name not in {"connect", "disconnect", "connect_error", "disconnecting"})
ARGS = st.lists(values(SCALARS | st.binary(max_size=20)), max_size=5)
PACKETS = (
    st.builds(
        Packet, st.just(EVENT), NAMESPACES, st.builds(lambda name, args: [name, *args], EVENT_NAMES, ARGS), st.none() | IDS
    )
    | st.builds(Packet, st.just(ACK), NAMESPACES, ARGS, IDS)
    | st.builds(Packet, st.just(PacketType.CONNECT), NAMESPACES, st.none() | st.dictionaries(KEYS, values(SCALARS), max_size=4))
    | st.builds(Packet, st.just(PacketType.DISCONNECT), NAMESPACES)
    | st.builds(Packet, st.just(PacketType.CONNECT_ERROR), NAMESPACES, st.none() | st.text())
)


@quick
@given(PACKETS)
def test_packets_survive_the_round_trip(packet: Packet) -> None:
    reading = Decoder(max_attachments=100, max_bytes=10_000)
    *first, last = encode(packet)
    assert [reading.feed(frame) for frame in first] == [None] * len(first)
    assert reading.feed(last) == packet


HEADS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from("01234567"),
    st.sampled_from(["", "0-", "1-", "2-", "99-"]),
    st.sampled_from(["", "/", "/a,", "/a?,"]),
    st.sampled_from(["", "1", "²"]),
)
PLACEHOLDERS = st.builds(lambda number: {"_placeholder": True, "num": number}, st.integers(-1, 2) | SCALARS)
BODIES = st.lists(st.just("x") | values(SCALARS | PLACEHOLDERS), max_size=4).map(lambda body: orjson.dumps(body).decode())
FRAMES = st.builds("{}{}".format, HEADS, BODIES | st.text(st.characters())) | st.text(st.characters()) | st.binary(max_size=50)


def held(reading: Decoder) -> int:
    """How many attachments the decoder has taken for a packet that is not complete."""
    pending = reading._pending
    return 0 if pending is None else pending.filled


@settings(quick, max_examples=300)
@given(st.lists(FRAMES, max_size=30))
def test_whatever_arrives_is_packets_or_a_protocol_error(frames: list[str | bytes]) -> None:
    reading = Decoder(max_attachments=2, max_bytes=60)
    for frame in frames:
        try:
            packet = reading.feed(frame)
        except ProtocolError:
            assert held(reading) == 0
        else:
            assert packet is None or encode(packet)
            assert held(reading) < 2
