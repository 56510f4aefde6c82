"""Frames against a parser that knows only the RFC's picture of a frame (section 5.2)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.protocol.frames import binary_frame, text_frame

BOUNDARIES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


def parse(frame: bytes) -> tuple[int, bytes]:
    """The opcode and the payload of exactly one final, unmasked frame in its shortest form."""
    bits = "".join(f"{byte:08b}" for byte in frame[:10])
    assert bits[:4] == "1000", "FIN and no reserved bits"
    assert bits[8] == "0", "servers do not mask"
    length, head = int(bits[9:16], 2), 2
    if length == 126:
        length, head = int.from_bytes(frame[2:4], "big"), 4
        assert length > 125
    elif length == 127:
        length, head = int.from_bytes(frame[2:10], "big"), 10
        assert length > 65_535
    assert len(frame) == head + length
    return int(bits[4:8], 2), frame[head:]


@pytest.mark.parametrize("length", BOUNDARIES)
def test_every_form_of_the_length(length: int) -> None:
    payload = b"\xa5" * length
    assert parse(text_frame(payload)) == (1, payload)
    assert parse(binary_frame(payload)) == (2, payload)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.binary(max_size=300))
def test_any_payload(payload: bytes) -> None:
    assert parse(text_frame(payload)) == (1, payload)
    assert parse(binary_frame(payload)) == (2, payload)


def test_the_examples_of_the_rfc() -> None:
    assert text_frame(b"Hello") == b"\x81\x05Hello"
    assert binary_frame(bytes(256))[:4] == b"\x82\x7e\x01\x00"
    assert binary_frame(bytes(65_536))[:10] == b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"
