"""A client's side of WebSocket (RFC 6455) and HTTP/1.1, as far as this server speaks them. No I/O."""

import secrets
import struct
from dataclasses import dataclass
from typing import Final

from events.protocol.errors import ProtocolError, size_of

TEXT: Final = 1
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_HEAD_END: Final = b"\r\n\r\n"


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """One whole message as a client sends it."""
    key = secrets.token_bytes(4)
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
    mask = (key * (length // 4 + 1))[:length]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return head + key + masked.to_bytes(length, "big")


class FrameReader:
    """Bytes of a server in, frames out: (opcode, payload). This server sends whole messages only."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that these bytes complete. Raises ProtocolError for a fragment, which this server never sends."""
        buffer = self._buffer
        buffer += data
        frames: list[tuple[int, bytes]] = []
        at = 0
        while (head := _frame_head(buffer, at)) is not None:
            start, length = head
            end = start + length
            if end > len(buffer):
                break
            if not buffer[at] & 0x80:
                raise ProtocolError("a fragment of a message")
            frames.append((buffer[at] & 0x0F, bytes(buffer[start:end])))
            at = end
        del buffer[:at]
        return frames


def _frame_head(buffer: bytearray, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` begins, and how long it is; None when that is not known yet."""
    there = len(buffer) - at
    if there < 2:
        return None
    length = buffer[at + 1] & 0x7F
    if length < 126:
        return at + 2, length
    if length == 126:
        return (at + 4, int.from_bytes(buffer[at + 2 : at + 4], "big")) if there >= 4 else None
    return (at + 10, int.from_bytes(buffer[at + 2 : at + 10], "big")) if there >= 10 else None


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response. `rest` is what came behind the head of an upgrade."""

    status: int
    body: bytes
    rest: bytes = b""


class ResponseReader:
    """Bytes in, HTTP responses out. A body has to announce its length."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Response | None:
        """The response that these bytes complete; one at a time, as nobody asks twice before the answer."""
        self._buffer += data
        head, found, rest = self._buffer.partition(_HEAD_END)
        if not found:
            return None
        status, length = _parse_head(bytes(head))
        if status == 101:
            self._buffer.clear()
            return Response(status, b"", bytes(rest))
        if len(rest) < length:
            return None
        self._buffer.clear()
        return Response(status, bytes(rest[:length]))


def _parse_head(head: bytes) -> tuple[int, int]:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    parts = status_line.split(" ")
    if len(parts) < 2 or not parts[1].isdecimal():
        raise ProtocolError(f"no HTTP response: a line of {size_of(status_line)}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(parts[1]), int(fields.get("content-length", "0"))
