"""WebSocket as it is read, against what the `websockets` library writes, and against the RFC's rules."""

import base64
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from events.protocol.frames import close_frame, ping_frame, pong_frame
from events.protocol.websocket import (
    INVALID_DATA,
    NO_CODE,
    PROTOCOL_ERROR,
    TOO_BIG,
    Closing,
    FrameReader,
    Headers,
    Ping,
    Pong,
    Received,
    Violation,
    asks_for_websocket,
    handshake_answer,
    handshake_refusal,
    plain_handshake,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="

HANDSHAKE = {
    b"host": b"example.org",
    b"upgrade": b"websocket",
    b"connection": b"keep-alive, Upgrade",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": KEY,
}


def reader() -> FrameReader:
    return FrameReader(max_frame=70_000, max_message=100_000)


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=mask)


def crooked(first: int, payload: bytes = b"") -> bytes:
    """A small frame that no library writes; `first` is its first byte. The mask is zero."""
    return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload


def fed(data: bytes, sizes: Iterable[int] = ()) -> list[Received]:
    """What comes of bytes that arrive in pieces of these sizes, and the rest at once."""
    read, found = reader(), list[Received]()
    for size in sizes:
        found += read.feed(data[:size])
        data = data[size:]
    return found + read.feed(data)


# -- messages ------------------------------------------------------------------------------------------------------------

MESSAGES = st.one_of(st.text(max_size=200), st.binary(max_size=200), st.binary(min_size=126, max_size=66_000))


def fragments(message: str | bytes, chance: random.Random) -> list[bytes]:
    """A message in frames, with control frames between them."""
    opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    payload = message.encode() if isinstance(message, str) else message
    cuts = sorted(chance.sample(range(len(payload) + 1), min(len(payload), chance.randint(0, 3))))
    parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    frames = []
    for number, part in enumerate(parts):
        frames.append(frame(opcode if number == 0 else Opcode.CONT, part, fin=number == len(parts) - 1))
        if chance.random() < 0.3:
            frames.append(frame(Opcode.PING, b"still there?"))
    return frames


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(MESSAGES, max_size=5), st.integers(0, 2**32), st.integers(1, 3))
def test_messages_for_which_there_is_no_room_come_when_there_is(messages: list[str | bytes], seed: int, room: int) -> None:
    chance, read = random.Random(seed), reader()
    data = b"".join(part for message in messages for part in fragments(message, chance))
    parts = [read.feed(data, room)]
    while sum(not isinstance(each, Ping) for each in parts[-1]) == room:
        parts.append(read.feed(b"", room))
    said = [[each for each in part if not isinstance(each, Ping)] for part in parts]
    assert [each for part in said for each in part] == messages
    assert max(map(len, said)) <= room


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(MESSAGES, max_size=5), st.integers(0, 2**32))
def test_messages_come_out_whole_however_they_are_cut(messages: list[str | bytes], seed: int) -> None:
    chance = random.Random(seed)
    data = b"".join(part for message in messages for part in fragments(message, chance))
    sizes = [chance.choice([1, 2, 3, 7, 4_000]) for _ in range(chance.randint(0, 60))]
    found = [each for each in fed(data, sizes) if not isinstance(each, Ping)]
    assert found == messages


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_every_form_of_the_length_byte_by_byte(length: int) -> None:
    payload = random.Random(length).randbytes(length)
    data = frame(Opcode.BINARY, payload)
    assert fed(data) == [payload]
    assert fed(data, [1] * min(len(data), 20)) == [payload]


def test_control_frames() -> None:
    data = (
        frame(Opcode.PING, b"a") + frame(Opcode.PONG, b"b") + frame(Opcode.CLOSE, b"\x0f\xa0bye") + frame(Opcode.TEXT, b"late")
    )
    assert fed(data) == [Ping(b"a"), Pong(), Closing(4_000)]
    assert fed(frame(Opcode.CLOSE, b"")) == [Closing(NO_CODE)]
    assert (ping_frame(), pong_frame(b"a")) == (b"\x89\x00", b"\x8a\x01a")
    assert (close_frame(1_000), close_frame(None)) == (b"\x88\x02\x03\xe8", b"\x88\x00")
    assert close_frame(1_000, "why") == b"\x88\x05\x03\xe8why"
    # A character that would not fit whole is left out.
    assert close_frame(1_000, 122 * "x" + "ä") == b"\x88\x7c\x03\xe8" + 122 * b"x"


# -- violations ----------------------------------------------------------------------------------------------------------

VIOLATIONS = {
    "not masked": (frame(Opcode.TEXT, b"a", mask=False), PROTOCOL_ERROR),
    "a reserved bit": (crooked(0xC1, b"a"), PROTOCOL_ERROR),
    "a reserved opcode": (crooked(0x83), PROTOCOL_ERROR),
    "a reserved control opcode": (crooked(0x8B), PROTOCOL_ERROR),
    "a ping in fragments": (crooked(0x09), PROTOCOL_ERROR),
    "a ping that is too long": (b"\x89\xfe\x00\x7e", PROTOCOL_ERROR),
    "nothing to continue": (frame(Opcode.CONT, b"a"), PROTOCOL_ERROR),
    "a message within another": (frame(Opcode.TEXT, b"a", fin=False) + frame(Opcode.TEXT, b"b"), PROTOCOL_ERROR),
    "a length of 125 in two bytes": (b"\x82\xfe\x00\x7d\x00\x00\x00\x00", PROTOCOL_ERROR),
    "a length of 65535 in eight bytes": (b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00", PROTOCOL_ERROR),
    "a length of 64 bits": (b"\x82\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", PROTOCOL_ERROR),
    "a frame that is too large": (b"\x82\xff\x00\x00\x00\x00\x00\x01\x11\x71\x00\x00\x00\x00", TOO_BIG),
    "a message that is too large": (
        frame(Opcode.BINARY, bytes(60_000), fin=False) + frame(Opcode.CONT, bytes(40_001)),
        TOO_BIG,
    ),
    "text that is not UTF-8": (frame(Opcode.TEXT, b"\xff"), INVALID_DATA),
    "half a character in a whole text": (frame(Opcode.TEXT, b"a\xc3"), INVALID_DATA),
    "a surrogate": (frame(Opcode.TEXT, b"\xed\xa0\x80"), INVALID_DATA),
    "half a close code": (crooked(0x88, b"\x03"), PROTOCOL_ERROR),
    "a close code for nobody to send": (crooked(0x88, b"\x03\xed"), PROTOCOL_ERROR),
    "a close code of no range": (crooked(0x88, b"\x13\x88"), PROTOCOL_ERROR),
    "a reason that is not UTF-8": (crooked(0x88, b"\x03\xe8\xff"), INVALID_DATA),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_what_the_protocol_forbids_ends_reading(name: str) -> None:
    data, code = VIOLATIONS[name]
    before, after = frame(Opcode.TEXT, b"before"), frame(Opcode.TEXT, b"after")
    for sizes in ([], [1] * (len(before) + len(data) - 1)) if len(data) < 100 else ([],):
        found = fed(before + data + after, sizes)
        assert found[0] == "before"
        assert isinstance(found[1], Violation)
        assert (found[1].code, len(found)) == (code, 2)


def test_a_character_may_be_cut_between_fragments() -> None:
    assert fed(frame(Opcode.TEXT, b"\xc3", fin=False) + frame(Opcode.CONT, b"\xa4")) == ["ä"]


def test_what_is_too_large_is_refused_before_it_has_come() -> None:
    found = reader().feed(b"\x82\xff" + (2**40).to_bytes(8, "big") + b"\x00\x00\x00\x00")
    assert isinstance(found[0], Violation)
    assert found[0].code == TOO_BIG


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.integers(1, 7))
def test_any_bytes_are_read_alike_in_one_piece_and_in_many(data: bytes, size: int) -> None:
    assert fed(data) == fed(data, [size] * (len(data) // size))


# -- the handshake -------------------------------------------------------------------------------------------------------


def headers(**changes: bytes | None) -> Headers:
    changed = {name.replace("_", "-").encode(): value for name, value in changes.items()}
    return Headers([(name, value) for name, value in (HANDSHAKE | changed).items() if value is not None])


def test_the_answer_of_the_rfc() -> None:
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" in handshake_answer(KEY)


def test_a_handshake_that_is_right() -> None:
    assert asks_for_websocket(headers())
    assert asks_for_websocket(headers(upgrade=b"h2c, WebSocket"))
    assert not asks_for_websocket(headers(upgrade=b"h2c"))
    assert handshake_refusal(b"GET", b"HTTP/1.1", headers()) is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"host": None}, 400),
        ({"connection": b"keep-alive"}, 400),
        ({"connection": None}, 400),
        ({"sec_websocket_version": b"8"}, 426),
        ({"sec_websocket_version": None}, 426),
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": b"short"}, 400),
        ({"sec_websocket_key": b"dGhlIHNhbXBsZSBub25jZ!=="}, 400),
        ({"sec_websocket_key": base64.b64encode(bytes(18))}, 400),
    ],
)
def test_a_handshake_that_is_wrong(changes: dict[str, bytes | None], status: int) -> None:
    refusal = handshake_refusal(b"GET", b"HTTP/1.1", headers(**changes))
    assert refusal is not None
    assert refusal.status == status


def test_other_methods_and_versions_open_no_websocket() -> None:
    assert handshake_refusal(b"POST", b"HTTP/1.1", headers()) is not None
    assert handshake_refusal(b"GET", b"HTTP/1.0", headers()) is not None


def test_a_header_that_must_be_there_once_is_refused_twice() -> None:
    for name in (b"host", b"sec-websocket-key", b"sec-websocket-version"):
        twice = Headers([*HANDSHAKE.items(), (name, HANDSHAKE[name])])
        assert handshake_refusal(b"GET", b"HTTP/1.1", twice) is not None


PLAIN = (
    b"GET /ws/events?x=%%41 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Empty:\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\nX-Two: 1 \r\nX-Two:  2\r\n\r\n" % KEY
)


def test_a_plain_request_is_read_at_once() -> None:
    found = plain_handshake(PLAIN)
    assert found is not None
    assert (found.uri, found.key) == (b"/ws/events?x=%41", KEY)
    assert found.pairs[0] == (b"host", b"a")
    assert (b"x-empty", b"") in found.pairs
    assert found.headers.all(b"x-two") == [b"1", b"2"]


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"GET ", b"POST "),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"GET /", b"GET  /"),
        (b"GET /", b"\r\nGET /"),
        (b"/ws/events", b"/ws/\xc3\xa4"),
        (b"Host: a\r\n", b"Host: a\r\nHost: b\r\n"),
        (b"Host: a\r\n", b"Host: a\n"),
        (b"Host: a", b"Host : a"),
        (b"Host: a", b"Host: a\r\n b"),
        (b"Host: a", b"Host: \xe4"),
        (b"Host: a", b"Host: a\x00"),
        (b"Host: a", b"Host: a\rX: b"),
        (b"X-Empty:", b"X_Empty:"),
        (b"X-Empty:", b"X-Empty"),
        (b"X-Empty:", b":"),
        (b"X-Empty:", b"Content-Length: 0"),
        (b"X-Empty:", b"Transfer-Encoding: chunked"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Version: 13", b"Version: 8"),
        (b"2\r\n\r\n", b"2\r\n"),
        (b"2\r\n\r\n", b"2\r\n\r\nmore"),
    ],
)
def test_all_else_is_left_to_a_reader_of_http(part: bytes, instead: bytes) -> None:
    assert PLAIN.count(part) == 1
    assert plain_handshake(PLAIN.replace(part, instead)) is None
    assert all(plain_handshake(PLAIN[:end]) is None for end in range(len(PLAIN)))
