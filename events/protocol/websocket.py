"""WebSocket (RFC 6455) as a server reads it: the opening handshake, and frames as a state machine. No extensions.

What a server sends is in `frames`.
"""

import base64
import binascii
import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: Close codes (section 7.4.1).
NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
ABNORMAL: Final = 1006
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012

# -- the opening handshake ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is no handshake that can be accepted: an HTTP status, what is wrong, and headers for the answer."""

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Headers:
    """The headers of a request: values by lower-case name, each line of its own."""

    __slots__ = ("_values",)

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            self._values.setdefault(name, []).append(value.strip())

    def all(self, name: bytes) -> list[bytes]:
        return self._values.get(name, [])

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a list that may be spread over several lines."""
        return [token.strip() for value in self.all(name) for token in value.split(b",") if token.strip()]

    def has_token(self, name: bytes, token: bytes) -> bool:
        return token in (each.lower() for each in self.tokens(name))


#: A whole request of the plainest kind: nothing in it that two readers could understand differently.
_PLAIN_REQUEST: Final = re.compile(rb"GET ([!-~]+) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n")


@dataclass(frozen=True, slots=True)
class Handshake:
    """A request for a WebSocket. `pairs` are the headers as they came, their names in lower case."""

    uri: bytes
    pairs: list[tuple[bytes, bytes]]
    headers: Headers

    @property
    def key(self) -> bytes:
        return self.headers.all(b"sec-websocket-key")[0]


def plain_handshake(data: bytes) -> Handshake | None:
    """The request for a WebSocket that these bytes are, when they are a whole one that is right and has no body. None for all
    else: what that is, a reader of HTTP has to say."""
    request = _PLAIN_REQUEST.fullmatch(data)
    if request is None:
        return None
    lines = request[2].split(b"\r\n")[:-1]
    pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    headers = Headers(pairs)
    if not asks_for_websocket(headers) or headers.all(b"content-length") or headers.all(b"transfer-encoding"):
        return None
    return None if handshake_refusal(b"GET", b"HTTP/1.1", headers) else Handshake(request[1], pairs, headers)


def asks_for_websocket(headers: Headers) -> bool:
    """Whether a request wants to become a WebSocket, rightly or not."""
    return headers.has_token(b"upgrade", b"websocket")


def handshake_refusal(method: bytes, version: bytes, headers: Headers) -> Refusal | None:
    """What is wrong with a request that wants to become a WebSocket (section 4.2.1); None when nothing is."""
    if method != b"GET" or version != b"HTTP/1.1":
        return Refusal(400, "A WebSocket is opened by GET and HTTP/1.1.")
    if len(headers.all(b"host")) != 1:
        return Refusal(400, "A request needs one Host header.")
    if not headers.has_token(b"connection", b"upgrade"):
        return Refusal(400, "The Connection header must say Upgrade.")
    if headers.all(b"sec-websocket-version") != [b"13"]:
        return Refusal(426, "Only version 13 of WebSocket is spoken here.", ((b"sec-websocket-version", b"13"),))
    keys = headers.all(b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return Refusal(400, "Sec-WebSocket-Key must be the base64 of 16 bytes, once.")
    return None


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def handshake_answer(key: bytes) -> bytes:
    """The response that makes the connection a WebSocket."""
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    return head + accept + b"\r\n\r\n"


# -- frames --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered by a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping, or a sign of life."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The client says that it will send nothing more. `code` is `NO_CODE` when it gave none."""

    code: int


@dataclass(frozen=True, slots=True)
class Violation:
    """The client broke the protocol: the connection is to be closed with this code."""

    code: int
    message: str


#: Text messages come as `str`, binary ones as `bytes`.
Received = str | bytes | Ping | Pong | Closing | Violation

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES: Final = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})

_MAX_CONTROL: Final = 125

#: Fragments of fewer bytes are told apart from those that carry something; the last one of a message is not.
SMALL_FRAGMENT: Final = 1_024


class _Broken(Exception):
    """Ends reading."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.violation = Violation(code, message)


class FrameReader:
    """Bytes of a client in, what it says out.

    max_frame:   bytes of the largest payload of a frame
    max_message: bytes of the largest message

    A size that is too large is refused when it is announced, not when it has come. Reading ends with a `Closing` or a
    `Violation`; what comes after it is dropped.

    asides: frames that were read, and that nothing else bounds: control frames and small fragments. For its user to set back
    """

    __slots__ = ("_ended", "_max_frame", "_max_message", "_message", "_needed", "_opcode", "_rest", "asides")

    def __init__(self, max_frame: int, max_message: int) -> None:
        self._max_frame = max_frame
        self._max_message = max_message
        #: What was not read: the beginning of a frame whose end has not come, or frames for which there was no room; and how
        #: many bytes of it are needed to go on.
        self._rest: bytearray | None = None
        self._needed = 0
        #: The message whose last fragment has not come, and whether it is text.
        self._message: bytearray | None = None
        self._opcode = 0
        self._ended = False
        self.asides = 0

    def feed(self, data: bytes, room: int = sys.maxsize) -> list[Received]:
        """What is complete with these bytes, in order, up to the message with which `room` of them are there. The rest
        stays, as the bytes that came, for the next call, which may bring none."""
        received: list[Received] = []
        if self._ended:
            return received
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._needed:
                return received
            data, self._rest = bytes(self._rest), None
        try:
            self._read(data, received, room)
        except _Broken as broken:
            received.append(broken.violation)
            self._end()
        return received

    def break_off(self, code: int, message: str) -> Violation:
        """Read no more: the client breaks a rule that is not of the protocol."""
        self._end()
        return Violation(code, message)

    def _end(self) -> None:
        self._ended, self._rest, self._message = True, None, None

    def _read(self, data: bytes, received: list[Received], room: int) -> None:
        place, size = 0, len(data)
        while place < size and not self._ended:
            if not room:
                self._rest, self._needed = bytearray(data[place:]), 0
                return
            end = self._end_of_frame(data, place)
            if end > size:
                self._rest, self._needed = bytearray(data[place:]), end - place
                return
            before = len(received)
            self._take(data, place, end, received)
            room -= len(received) > before and isinstance(received[-1], str | bytes)
            place = end

    def _end_of_frame(self, data: bytes, place: int) -> int:
        """Where the frame that begins at `place` ends; while its header is not complete, where the next part of that ends.
        Checks all of the header that is there."""
        available = len(data) - place
        if available < 2:
            return place + 2
        opcode, length = self._check_head(data[place], data[place + 1])
        extra = 2 if length == 126 else 8 if length == 127 else 0
        header = 2 + extra + 4
        if available < header:
            return place + header
        if extra:
            announced = int.from_bytes(data[place + 2 : place + 2 + extra], "big")
            if announced < 126 or (extra == 8 and not 1 << 16 <= announced < 1 << 63):
                raise _Broken(PROTOCOL_ERROR, "a length that is not in its shortest form")
            length = announced
        if opcode < _CLOSE:
            self._check_size(length)
        return place + header + length

    def _check_head(self, first: int, second: int) -> tuple[int, int]:
        """The opcode, and the length as the header's second byte has it."""
        opcode, length = first & 0x0F, second & 0x7F
        if first & 0x70 or opcode not in _OPCODES:
            raise _Broken(PROTOCOL_ERROR, "reserved bits or opcodes")
        if not second & 0x80:
            raise _Broken(PROTOCOL_ERROR, "a frame that is not masked")
        if opcode >= _CLOSE:
            if not first & 0x80 or length > _MAX_CONTROL:
                raise _Broken(PROTOCOL_ERROR, "a control frame in fragments, or too long")
        elif (opcode == _CONTINUATION) == (self._message is None):
            raise _Broken(PROTOCOL_ERROR, "a fragment out of place")
        return opcode, length

    def _check_size(self, length: int) -> None:
        before = 0 if self._message is None else len(self._message)
        if length > self._max_frame or before + length > self._max_message:
            raise _Broken(TOO_BIG, "a message that is too large (WS_MAX_PAYLOAD_BYTES)")

    def _take(self, data: bytes, place: int, end: int, received: list[Received]) -> None:
        """Take one whole frame."""
        first, length = data[place], data[place + 1] & 0x7F
        payload_at = place + 6 + (2 if length == 126 else 8 if length == 127 else 0)
        payload = _unmask(data[payload_at:end], data[payload_at - 4 : payload_at])
        opcode = first & 0x0F
        if opcode >= _CLOSE:
            self.asides += 1
            received.append(self._control(opcode, payload))
        elif self._message is None and first & 0x80:
            received.append(_message(opcode, payload))
        else:
            self._take_fragment(opcode, payload, last=bool(first & 0x80), received=received)

    def _take_fragment(self, opcode: int, payload: bytes, *, last: bool, received: list[Received]) -> None:
        if self._message is None:
            self._message, self._opcode = bytearray(), opcode
        self._message += payload
        self.asides += not last and len(payload) < SMALL_FRAGMENT
        if last:
            message, self._message = bytes(self._message), None
            received.append(_message(self._opcode, message))

    def _control(self, opcode: int, payload: bytes) -> Received:
        if opcode == _PING:
            return Ping(payload)
        if opcode == _PONG:
            return Pong()
        closing = Closing(_close_code(payload))
        self._end()
        return closing


def _message(opcode: int, payload: bytes) -> str | bytes:
    if opcode == _BINARY:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _Broken(INVALID_DATA, "text that is not UTF-8") from None


def _close_code(payload: bytes) -> int:
    if not payload:
        return NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _SENDABLE or 3_000 <= code < 5_000):
        raise _Broken(PROTOCOL_ERROR, "a close code that does not exist")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise _Broken(INVALID_DATA, "a reason that is not UTF-8") from None
    return code


#: Codes below 3000 that may be sent (section 7.4.1, and the registry of IANA).
_SENDABLE: Final = frozenset({*range(1_000, 1_004), *range(1_007, 1_015)})


def _unmask(payload: bytes, mask: bytes) -> bytes:
    """The payload without its mask (section 5.3): as two large numbers, so that it is done by the C below Python."""
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")
