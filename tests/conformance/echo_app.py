"""What the official Engine.IO and Socket.IO test suites expect of a server, made of our protocol core and consumers.

    daphne --port 3000 tests.conformance.echo_app:application

Engine.IO at /engine.io/ sends every message back. Socket.IO at /socket.io/ has the namespaces `/` and `/custom`: it emits
`auth` with what the client authenticated with, answers `message` by `message-back`, and acknowledges `message-with-ack`.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import re_path

from events.connection import EngineConnection, EngineEndpoint
from events.consumers import EnginePollingConsumer, EngineWebSocketConsumer
from events.protocol.engineio import EngineConfig
from events.socketio_app import Socket, SocketIOApp

#: What the official suites want; tests on a busy machine need more.
PING_INTERVAL_MS, PING_TIMEOUT_MS = (int(text) for text in os.environ.get("ECHO_HEARTBEAT_MS", "300 200").split())

CONFIG = EngineConfig(ping_interval_ms=PING_INTERVAL_MS, ping_timeout_ms=PING_TIMEOUT_MS, max_payload_bytes=1_000_000)


class EchoApp:
    """Sends every Engine.IO message back."""

    def __init__(self, connection: EngineConnection) -> None:
        self._connection = connection

    async def opened(self) -> None:
        """Nothing to greet with."""

    async def message(self, data: str | bytes) -> None:
        self._connection.send(data)

    def upgraded(self) -> None:
        """The connection sends over its new pipe by itself."""

    async def closed(self, reason: str) -> None:
        """Nothing to clean up."""


class EchoNamespace:
    """Answers the suite's events."""

    async def connect(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        """Everybody is let in."""

    async def connected(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        socket.emit("auth", auth)

    async def event(self, socket: Socket, name: str, args: Sequence[Any], ack_id: int | None) -> None:
        if name == "message":
            socket.emit("message-back", *args)
        elif name == "message-with-ack" and ack_id is not None:
            socket.acknowledge(ack_id, *args)

    def upgraded(self, socket: Socket) -> None:
        """Nothing to change."""

    async def disconnect(self, socket: Socket, reason: str) -> None:
        """Nothing to clean up."""


def _socketio(connection: EngineConnection) -> SocketIOApp:
    handlers = {"/": EchoNamespace(), "/custom": EchoNamespace()}
    return SocketIOApp(connection, handlers, CONFIG.max_payload_bytes)


_engine = EngineEndpoint(EchoApp, CONFIG)
_socket = EngineEndpoint(_socketio, CONFIG)
_engine.spread = _socket.spread = 0.0

application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                re_path(r"^engine\.io/$", EnginePollingConsumer.as_asgi(endpoint=_engine)),
                re_path(r"^socket\.io/$", EnginePollingConsumer.as_asgi(endpoint=_socket)),
            ]
        ),
        "websocket": URLRouter(
            [
                re_path(r"^engine\.io/$", EngineWebSocketConsumer.as_asgi(endpoint=_engine)),
                re_path(r"^socket\.io/$", EngineWebSocketConsumer.as_asgi(endpoint=_socket)),
            ]
        ),
    }
)
