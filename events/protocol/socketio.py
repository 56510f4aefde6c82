"""Socket.IO protocol 5: the namespaces of one Engine.IO connection as a state machine.

A frame here is an Engine.IO message without its `4`. Packets are in `socketio_codec`; their names can be had from here as well.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from events.protocol.errors import ProtocolError
from events.protocol.socketio_codec import Decoder, Packet, PacketType, encode

__all__ = [
    "Ack",
    "Action",
    "Connecting",
    "Decoder",
    "Disconnected",
    "Event",
    "Packet",
    "PacketType",
    "Send",
    "SocketIOServer",
    "encode",
]


# -- actions -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Put these frames on the connection, in order and with nothing between them."""

    frames: list[str | bytes]


@dataclass(frozen=True, slots=True)
class Connecting:
    """The client asks for a namespace: answer with `accept` or `refuse`. `auth` is empty when it sent none."""

    namespace: str
    auth: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """The client emitted an event. `ack_id` is set when it waits for an answer by `ack`."""

    namespace: str
    name: str
    args: list[Any]
    ack_id: int | None


@dataclass(frozen=True, slots=True)
class Ack:
    """The client answers an event that carried this id, or claims to: nobody has checked that one did."""

    namespace: str
    id: int
    args: list[Any]


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The client left a namespace; the connection goes on."""

    namespace: str


Action = Send | Connecting | Event | Ack | Disconnected


# -- server ------------------------------------------------------------------------------------------------------------


class SocketIOServer:
    """The server's side of one connection.

    namespaces: those that exist; any other is refused without asking
    connected:  namespace -> session id, in the order of connecting

    The methods that speak return the frames to put on the connection. They do not check that the client is in the
    namespace: clients ignore packets of a namespace they have left, as they must, since leaving and sending can cross.
    """

    __slots__ = ("_connecting", "_decoder", "_namespaces", "connected")

    def __init__(self, namespaces: Collection[str], max_attachments: int = 10, max_bytes: int = 1_000_000) -> None:
        self.connected: dict[str, str] = {}
        self._namespaces = namespaces
        self._connecting: tuple[str, ...] = ()
        self._decoder = Decoder(max_attachments, max_bytes)

    def receive(self, message: str | bytes) -> list[Action]:
        """Take one frame. Raises ProtocolError for a malformed one, and for a packet that is out of place."""
        packet = self._decoder.feed(message)
        if packet is None:
            return []
        if packet.type is PacketType.CONNECT:
            return [self._connect(packet)]
        if packet.namespace not in self.connected:
            raise ProtocolError(f"{packet.type.name} in a namespace that is not connected")
        match packet.type:
            case PacketType.EVENT:
                name, *args = packet.data
                return [Event(packet.namespace, str(name), args, packet.id)]
            case PacketType.ACK if packet.id is not None:
                return [Ack(packet.namespace, packet.id, packet.data)]
            case PacketType.DISCONNECT:
                del self.connected[packet.namespace]
                return [Disconnected(packet.namespace)]
        raise ProtocolError(f"a client must not send {packet.type.name}")

    def _connect(self, packet: Packet) -> Action:
        namespace = packet.namespace
        if namespace not in self._namespaces:
            return Send(self.refuse(namespace, "Invalid namespace"))
        if namespace in self.connected or namespace in self._connecting:
            raise ProtocolError(f"second CONNECT to {namespace}")
        self._connecting += (namespace,)
        return Connecting(namespace, packet.data or {})

    def accept(self, namespace: str, sid: str) -> list[str | bytes]:
        """Let the client into a namespace that it is connecting to; KeyError for any other."""
        if namespace not in self._connecting:
            raise KeyError(namespace)
        self._stop_connecting(namespace)
        self.connected[namespace] = sid
        return encode(Packet(PacketType.CONNECT, namespace, {"sid": sid}))

    def _stop_connecting(self, namespace: str) -> None:
        self._connecting = tuple(each for each in self._connecting if each != namespace)

    def refuse(self, namespace: str, message: str, data: Any = None) -> list[str | bytes]:
        """Keep the client out; it gets an error with this message, and with `data` unless that is None."""
        self._stop_connecting(namespace)
        error = {"message": message} if data is None else {"message": message, "data": data}
        return encode(Packet(PacketType.CONNECT_ERROR, namespace, error))

    def event(self, namespace: str, name: str, args: Sequence[Any], ack_id: int | None = None) -> list[str | bytes]:
        """Emit an event. With an `ack_id` the client answers by an `Ack` of the same id."""
        return encode(Packet(PacketType.EVENT, namespace, [name, *args], ack_id))

    def ack(self, namespace: str, ack_id: int, args: Sequence[Any]) -> list[str | bytes]:
        """Answer an event that came with this id."""
        return encode(Packet(PacketType.ACK, namespace, list(args), ack_id))

    def disconnect(self, namespace: str) -> list[str | bytes]:
        """Put the client out of a namespace, connected or connecting; the connection goes on."""
        self._stop_connecting(namespace)
        self.connected.pop(namespace, None)
        return encode(Packet(PacketType.DISCONNECT, namespace))
