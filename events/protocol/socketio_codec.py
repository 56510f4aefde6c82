"""Socket.IO protocol 5: packets with binary attachments, to and from their frames.

A frame here is an Engine.IO message without its `4`.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import orjson

from events.protocol.errors import ProtocolError, size_of

MAX_NAMESPACE_CHARS: Final = 255

#: As many as the largest integer that JavaScript counts exactly.
MAX_ACK_ID_DIGITS: Final = 16

#: Far below the depth that the JSON encoder refuses, so that what came in can always go out again.
MAX_JSON_DEPTH: Final = 100

_RESERVED_EVENTS: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"},
)

# type, attachments, namespace, acknowledgement id; the rest is JSON. [0-9], since \d also means digits that are not ASCII.
_HEAD: Final = re.compile(r"([0-6])(?:([0-9]+)-)?(?:(/[^,]*),?)?([0-9]*)")


# -- packets -----------------------------------------------------------------------------------------------------------


class PacketType(IntEnum):
    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_TO_BINARY: Final = {PacketType.EVENT: PacketType.BINARY_EVENT, PacketType.ACK: PacketType.BINARY_ACK}
_FROM_BINARY: Final = {binary: plain for plain, binary in _TO_BINARY.items()}
_MAY_ATTACH: Final = frozenset(_TO_BINARY) | frozenset(_FROM_BINARY)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet. `data` is JSON-like and holds bytes where attachments belong; None when there is no payload."""

    type: PacketType
    namespace: str = "/"
    data: Any = None
    id: int | None = None


def encode(packet: Packet) -> list[str | bytes]:
    """The packet's text and its attachments. Raises TypeError for data that is neither JSON-like nor bytes."""
    attachments: list[str | bytes] = []

    def placeholder(value: Any) -> dict[str, Any]:
        if not isinstance(value, bytes) or packet.type not in _MAY_ATTACH:
            raise TypeError(f"cannot encode {type(value).__name__}")
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}

    payload = "" if packet.data is None else orjson.dumps(packet.data, default=placeholder).decode()
    packet_type = _TO_BINARY.get(packet.type, packet.type) if attachments else packet.type
    count = f"{len(attachments)}-" if packet_type in _FROM_BINARY else ""
    namespace = "" if packet.namespace == "/" else f"{packet.namespace},"
    ack_id = "" if packet.id is None else packet.id
    return [f"{int(packet_type)}{count}{namespace}{ack_id}{payload}", *attachments]


# -- decoding ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Pending:
    """A packet whose attachments are still coming. `places` has the container and key of each, in their order."""

    packet: Packet
    places: list[tuple[Any, Any]]
    filled: int = 0
    size: int = 0


class Decoder:
    """Frames in, packets out. Binary packets come out as EVENT and ACK with the bytes in their places.

    max_attachments: how many one packet may have
    max_bytes:       how large they may be together

    `feed` raises ProtocolError for whatever no client of this protocol sends, and then holds nothing of it.
    """

    __slots__ = ("_max_attachments", "_max_bytes", "_pending")

    def __init__(self, max_attachments: int, max_bytes: int) -> None:
        self._max_attachments = max_attachments
        self._max_bytes = max_bytes
        self._pending: _Pending | None = None

    def feed(self, message: str | bytes) -> Packet | None:
        """The packet that this frame completes; None while attachments are outstanding."""
        pending, self._pending = self._pending, None
        if isinstance(message, bytes):
            return self._attach(pending, message)
        if pending is not None:
            raise ProtocolError("text where an attachment was expected")
        packet, count = _parse(message, self._max_attachments)
        if count is None:
            return packet
        packet = replace(packet, type=_FROM_BINARY[packet.type])
        places = _find_places(packet.data, count)
        if not places:
            return packet
        self._pending = _Pending(packet, places)
        return None

    def _attach(self, pending: _Pending | None, attachment: bytes) -> Packet | None:
        if pending is None:
            raise ProtocolError("an attachment of no packet")
        pending.size += len(attachment)
        if pending.size > self._max_bytes:
            raise ProtocolError(f"attachments of more than {self._max_bytes} bytes")
        container, key = pending.places[pending.filled]
        container[key] = attachment
        pending.filled += 1
        if pending.filled == len(pending.places):
            return pending.packet
        self._pending = pending
        return None


def _parse(text: str, max_attachments: int) -> tuple[Packet, int | None]:
    """The packet of a text and how many attachments it announces; None for a packet that has none by its type."""
    head = _HEAD.match(text)
    if head is None:
        raise ProtocolError(f"no Socket.IO packet: {size_of(text)}")
    packet_type = PacketType(int(head[1]))
    rest = text[head.end() :]
    data = _parse_json(rest) if rest else None
    if not _has_shape(packet_type, data, present=bool(rest)):
        raise ProtocolError(f"bad payload of {packet_type.name}: {size_of(rest)}")
    ack_id = _parse_ack_id(head[4])
    if ack_id is None and packet_type in (PacketType.ACK, PacketType.BINARY_ACK):
        raise ProtocolError(f"{packet_type.name} without an id")
    packet = Packet(packet_type, _parse_namespace(head[3]), data, ack_id)
    return packet, _parse_count(packet_type, head[2], max_attachments)


def _parse_count(packet_type: PacketType, digits: str | None, max_attachments: int) -> int | None:
    if (digits is not None) != (packet_type in _FROM_BINARY):
        raise ProtocolError(f"bad number of attachments of {packet_type.name}")
    if digits is None:
        return None
    if len(digits) > len(str(max_attachments)) or int(digits) > max_attachments:
        raise ProtocolError(f"more than {max_attachments} attachments")
    return int(digits)


def _parse_namespace(text: str | None) -> str:
    namespace = (text or "/").partition("?")[0]
    if len(namespace) > MAX_NAMESPACE_CHARS or not namespace.isprintable():
        raise ProtocolError(f"bad namespace: {size_of(namespace)}")
    return namespace


def _parse_ack_id(digits: str) -> int | None:
    if len(digits) > MAX_ACK_ID_DIGITS:
        raise ProtocolError(f"acknowledgement id of {len(digits)} digits")
    return int(digits) if digits else None


def _parse_json(text: str) -> Any:
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"bad JSON: at {error.pos} of {size_of(text)}") from None
    level = [data]
    for _ in range(MAX_JSON_DEPTH + 1):
        level = [child for node in level for child in _children(node)]
        if not level:
            return data
    raise ProtocolError(f"JSON of more than {MAX_JSON_DEPTH} levels")


def _children(node: Any) -> Collection[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _has_shape(packet_type: PacketType, data: Any, present: bool) -> bool:
    match packet_type:
        case PacketType.CONNECT:
            return not present or isinstance(data, dict)
        case PacketType.DISCONNECT:
            return not present
        case PacketType.CONNECT_ERROR:
            return not present or isinstance(data, str | dict)
        case PacketType.EVENT | PacketType.BINARY_EVENT:
            return isinstance(data, list) and len(data) > 0 and _is_event_name(data[0])
        case _:
            return isinstance(data, list)


def _is_event_name(value: Any) -> bool:
    if isinstance(value, str):
        return value not in _RESERVED_EVENTS
    return isinstance(value, int | float) and not isinstance(value, bool)


def _find_places(data: Any, count: int) -> list[tuple[Any, Any]]:
    """Where each of `count` attachments belongs. Placeholders must number them 0 to count - 1, each once."""
    places: dict[int, tuple[Any, Any]] = {}
    containers = [data]
    while containers:
        container = containers.pop()
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, dict) and value.get("_placeholder") is True:
                number = value.get("num")
                if type(number) is not int or not 0 <= number < count or number in places:
                    raise ProtocolError("bad placeholder of an attachment")
                places[number] = (container, key)
            elif isinstance(value, dict | list):
                containers.append(value)
    if len(places) != count:
        raise ProtocolError(f"{count} attachments for {len(places)} placeholders")
    return [places[number] for number in range(count)]
