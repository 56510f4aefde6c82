"""Engine.IO protocol 4: packets and long-polling payloads, to and from their frames."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from events.protocol.errors import ProtocolError, size_of

#: A client sends what it has buffered in one request; more packets than this in one body are work made for its own sake.
MAX_PAYLOAD_PACKETS: Final = 1000

_SEPARATOR: Final = "\x1e"


class PacketType(IntEnum):
    OPEN = 0
    CLOSE = 1
    PING = 2
    PONG = 3
    MESSAGE = 4
    UPGRADE = 5
    NOOP = 6


_TYPES: Final = {str(int(packet_type)): packet_type for packet_type in PacketType}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet. Only a MESSAGE may carry bytes."""

    type: PacketType
    data: str | bytes = ""


def encode_packet(packet: Packet) -> str | bytes:
    """The frame of a packet; a binary message is its bare bytes."""
    if isinstance(packet.data, str):
        return f"{int(packet.type)}{packet.data}"
    if packet.type is not PacketType.MESSAGE:
        raise ValueError(f"a {packet.type.name} packet cannot carry bytes")
    return packet.data


def decode_packet(frame: str | bytes) -> Packet:
    """The packet of a WebSocket frame. Raises ProtocolError for a text without a known type."""
    if isinstance(frame, bytes):
        return Packet(PacketType.MESSAGE, frame)
    packet_type = _TYPES.get(frame[:1])
    if packet_type is None:
        raise ProtocolError(f"no Engine.IO packet: {size_of(frame)}")
    return Packet(packet_type, frame[1:])


def encode_payload(packets: Sequence[str | bytes]) -> str:
    """Encoded packets as the body of one long-polling answer."""
    return _SEPARATOR.join("b" + base64.b64encode(p).decode("ascii") if isinstance(p, bytes) else p for p in packets)


def decode_payload(body: str, max_packets: int = MAX_PAYLOAD_PACKETS) -> Iterator[Packet]:
    """The packets of one long-polling request, each made when it is asked for: those of a client that sends faster than they
    are taken would be many times as large as the request. Raises ProtocolError at once unless all of them are well-formed."""
    if body.count(_SEPARATOR) >= max_packets:
        raise ProtocolError(f"more than {max_packets} packets in one payload")
    for _ in _packets(body):
        pass
    return _packets(body)


def _packets(body: str) -> Iterator[Packet]:
    place = 0
    while place <= len(body):
        end = body.find(_SEPARATOR, place)
        part = body[place : end if end >= 0 else len(body)]
        yield _decode_base64(part) if part.startswith("b") else decode_packet(part)
        place += len(part) + 1


def _decode_base64(part: str) -> Packet:
    try:
        return Packet(PacketType.MESSAGE, base64.b64decode(part[1:], validate=True))
    except ValueError:
        raise ProtocolError(f"bad base64: {size_of(part)}") from None
