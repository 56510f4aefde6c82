"""Engine.IO protocol 4: one session as a state machine.

Packets are in `engineio_codec`, requests in `engineio_request`; their names can be had from here as well.
"""

import math
from dataclasses import dataclass

import orjson

from events.protocol.engineio_codec import (
    Packet,
    PacketType,
    decode_packet,
    decode_payload,
    encode_packet,
    encode_payload,
)
from events.protocol.engineio_request import (
    BAD_HANDSHAKE_METHOD,
    BAD_REQUEST,
    UNKNOWN_SID,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_PROTOCOL_VERSION,
    EngineRequest,
    RequestError,
    Transport,
    parse_request,
)
from events.protocol.errors import ProtocolError, size_of

__all__ = [
    "BAD_HANDSHAKE_METHOD",
    "BAD_REQUEST",
    "UNKNOWN_SID",
    "UNKNOWN_TRANSPORT",
    "UNSUPPORTED_PROTOCOL_VERSION",
    "Action",
    "Close",
    "Deliver",
    "EngineConfig",
    "EngineRequest",
    "EngineSession",
    "Packet",
    "PacketType",
    "ProbeReply",
    "ProbeResult",
    "RequestError",
    "Send",
    "Transport",
    "Upgraded",
    "decode_packet",
    "decode_payload",
    "encode_packet",
    "encode_payload",
    "parse_request",
]


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What the server tells every client in its handshake."""

    ping_interval_ms: int = 25_000
    ping_timeout_ms: int = 20_000
    max_payload_bytes: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Send:
    """Put this control packet on the session's transport."""

    frame: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for the application."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The session has ended. `reason` is one of Socket.IO's words for it."""

    reason: str


Action = Send | Deliver | Close


@dataclass(frozen=True, slots=True)
class ProbeReply:
    """Answer the probe with this frame, on the probing WebSocket."""

    frame: str


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The probing WebSocket is the session's transport from now on."""


ProbeResult = ProbeReply | Upgraded


class EngineSession:
    """One session. Times are seconds of one monotonic clock.

    The heartbeat is a single due time: of the next ping, or, while a pong is awaited, of the end. It moves from where it
    was due and not from when somebody looked, so a session nobody looked at ends when its client was told it would.

    early: which part of the interval the first ping comes early
    """

    __slots__ = ("_awaiting_pong", "_config", "_due", "_probed", "closed", "sid", "transport", "upgrading")

    def __init__(self, sid: str, config: EngineConfig, transport: Transport, now: float, early: float = 0.0) -> None:
        self.sid = sid
        self.transport: Transport = transport
        self.closed = False
        self.upgrading = False
        self._config = config
        self._due = now + (1.0 - early) * config.ping_interval_ms / 1000
        self._awaiting_pong = False
        self._probed = False

    def open_packet(self) -> str:
        """The handshake, first frame of the session."""
        handshake = {
            "sid": self.sid,
            "upgrades": ["websocket"] if self.transport == "polling" else [],
            "pingInterval": self._config.ping_interval_ms,
            "pingTimeout": self._config.ping_timeout_ms,
            "maxPayload": self._config.max_payload_bytes,
        }
        return f"{int(PacketType.OPEN)}{orjson.dumps(handshake).decode()}"

    @property
    def deadline(self) -> float:
        """When `tick` has something to do next; infinity once closed."""
        return math.inf if self.closed else self._due

    def tick(self, now: float) -> list[Action]:
        """What the heartbeat demands by now: nothing, a ping, or the end."""
        if now < self.deadline:
            return []
        if not self._awaiting_pong:
            self._awaiting_pong = True
            self._due += self._config.ping_timeout_ms / 1000
            if now < self._due:
                return [Send(f"{int(PacketType.PING)}")]
        self.close()
        return [Close("ping timeout")]

    def receive(self, packet: Packet, now: float) -> list[Action]:
        """Take a packet that arrived on the session's transport. Once closed, packets are ignored.

        Raises ProtocolError for a packet that only a server may send, or that belongs to a probe.
        """
        if self.closed:
            return []
        match packet.type:
            case PacketType.MESSAGE:
                return [Deliver(packet.data)]
            case PacketType.PONG:
                self._awaiting_pong = False
                self._due = now + self._config.ping_interval_ms / 1000
                return []
            case PacketType.CLOSE:
                self.close()
                return [Close("transport close")]
        raise ProtocolError(f"a client must not send {packet.type.name} here")

    def begin_upgrade(self) -> None:
        """A WebSocket arrived for this long-polling session. Raises RequestError when the session cannot take it."""
        if self.closed or self.upgrading or self.transport == "websocket":
            raise BAD_REQUEST()
        self.upgrading = True
        self._probed = False

    def receive_probe(self, frame: str | bytes) -> ProbeResult:
        """Take a frame of the probing WebSocket: the probe, then the upgrade.

        Anything else raises ProtocolError and cancels the upgrade: that WebSocket is closed, the session goes on polling.
        """
        if self.upgrading and not self._probed and frame == "2probe":
            self._probed = True
            return ProbeReply("3probe")
        if self.upgrading and self._probed and frame == "5":
            self.cancel_upgrade()
            self.transport = "websocket"
            return Upgraded()
        self.cancel_upgrade()
        raise ProtocolError(f"not the next step of an upgrade: {size_of(frame)}")

    def cancel_upgrade(self) -> None:
        """The probing WebSocket is gone."""
        self.upgrading = False

    def close(self) -> None:
        """End the session; again is harmless."""
        self.closed = True
        self.upgrading = False
