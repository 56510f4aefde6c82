"""WebSocket frames as a server sends them (RFC 6455, section 5.2): final, unmasked, no extensions."""

import struct
from typing import Final

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A

#: A control frame has 125 bytes at most, and the code takes two.
_REASON_BYTES: Final = 123

# The three forms of a header.
_SHORT: Final = struct.Struct("!BB")
_MEDIUM: Final = struct.Struct("!BBH")
_LONG: Final = struct.Struct("!BBQ")


def text_frame(payload: bytes) -> bytes:
    """One whole text message; `payload` is its UTF-8."""
    return _header(_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """One whole binary message."""
    return _header(_BINARY, len(payload)) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """The last frame; without a code it says none, and no reason. Of a reason as much as fits, which is 123 bytes."""
    if code is None:
        return struct.pack("!BB", _CLOSE, 0)
    text = reason.encode()[:_REASON_BYTES].decode(errors="ignore").encode()
    return struct.pack("!BBH", _CLOSE, 2 + len(text), code) + text


def payload_size(payload: str | bytes) -> int:
    """How many bytes a text or binary payload has in its frame."""
    return len(payload) if isinstance(payload, bytes) or payload.isascii() else len(payload.encode())


def ping_frame() -> bytes:
    """Asks for a pong."""
    return struct.pack("!BB", _PING, 0)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping of this payload, of at most 125 bytes."""
    return _header(_PONG, len(payload)) + payload


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return _SHORT.pack(first, length)
    if length < 1 << 16:
        return _MEDIUM.pack(first, 126, length)
    return _LONG.pack(first, 127, length)
