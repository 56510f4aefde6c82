"""Socket.IO on an Engine.IO connection: the protocol's state machine, and a handler per namespace."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from events.connection import EngineConnection
from events.protocol.socketio import Ack, Connecting, Disconnected, Event, Send, SocketIOServer

#: A client has so long to join its first namespace, or another one after it left the last.
CONNECT_TIMEOUT_S: Final = 45.0

#: The namespace by whose socket a client is known; a client may have one in each.
MAIN: Final = "/"


class ConnectRefused(Exception):
    """A handler does not let a client in. The message is for the client."""


class Socket:
    """One client in one namespace."""

    __slots__ = ("_app", "namespace", "sid")

    def __init__(self, app: "SocketIOApp", namespace: str, sid: str) -> None:
        self._app = app
        self.namespace = namespace
        self.sid = sid

    @property
    def connection(self) -> EngineConnection:
        return self._app.connection

    def emit(self, name: str, *args: Any) -> None:
        """Send an event; `bytes` within the arguments go as binary attachments."""
        self._app.send(self._app.server.event(self.namespace, name, args))

    def acknowledge(self, ack_id: int, *args: Any) -> None:
        """Answer an event that came with an ack id."""
        self._app.send(self._app.server.ack(self.namespace, ack_id, args))


class NamespaceHandler(Protocol):
    """What happens in a namespace. One object may serve many connections."""

    async def connect(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        """Called before the client is let in. Raises `ConnectRefused`."""

    async def connected(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        """Called right after the client was let in."""

    async def event(self, socket: Socket, name: str, args: Sequence[Any], ack_id: int | None) -> None: ...

    def upgraded(self, socket: Socket) -> None:
        """The connection has a new pipe."""

    async def disconnect(self, socket: Socket, reason: str) -> None: ...


class SocketIOApp:
    """The namespaces of one connection."""

    __slots__ = ("_connect_timeout_s", "_handlers", "_sockets", "_timer", "connection", "server")

    def __init__(
        self,
        connection: EngineConnection,
        handlers: Mapping[str, NamespaceHandler],
        max_bytes: int,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self.connection = connection
        self.server = SocketIOServer(handlers.keys(), max_bytes=max_bytes)
        self._handlers = handlers
        self._sockets: dict[str, Socket] = {}
        self._connect_timeout_s = connect_timeout_s
        self._timer: asyncio.TimerHandle | None = None

    def send(self, frames: Sequence[str | bytes]) -> None:
        for frame in frames:
            self.connection.send(frame)

    async def opened(self) -> None:
        """Nothing happens before the client connects to a namespace, and it has to do so in time."""
        self._expect_namespace()

    async def message(self, data: str | bytes) -> None:
        for action in self.server.receive(data):
            match action:
                case Send(frames):
                    self.send(frames)
                case Connecting(namespace, auth):
                    await self._connect(namespace, auth)
                case Event(namespace, name, args, ack_id):
                    await self._handlers[namespace].event(self._sockets[namespace], name, args, ack_id)
                case Disconnected(namespace):
                    await self._leave(namespace, "client namespace disconnect")
                    if not self._sockets:
                        self._expect_namespace()
                case Ack():
                    pass  # No handler asks clients for acks.

    async def _connect(self, namespace: str, auth: Mapping[str, Any]) -> None:
        handler = self._handlers[namespace]
        socket = Socket(self, namespace, secrets.token_urlsafe(15))
        try:
            await handler.connect(socket, auth)
        except ConnectRefused as refusal:
            self.send(self.server.refuse(namespace, str(refusal)))
            return
        self._sockets[namespace] = socket
        if namespace == MAIN:
            self.connection.client_sid = socket.sid
        self._cancel_timer()
        pipe = self.connection.pipe
        # The greeting leaves with the answer.
        pipe.hold()
        try:
            self.send(self.server.accept(namespace, socket.sid))
            await handler.connected(socket, auth)
        finally:
            pipe.release()

    def upgraded(self) -> None:
        for namespace, socket in self._sockets.items():
            self._handlers[namespace].upgraded(socket)

    def _expect_namespace(self) -> None:
        """A client that is in no namespace holds a connection for nothing; it is put out after a while."""
        self._cancel_timer()
        loop, left_s = asyncio.get_running_loop(), self.connection.unknown_since + self._connect_timeout_s - time.monotonic()
        self._timer = loop.call_later(left_s, self.connection.close, "no namespace was joined in time")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def closed(self, reason: str) -> None:
        self._cancel_timer()
        for namespace in list(self._sockets):
            await self._leave(namespace, reason)

    async def _leave(self, namespace: str, reason: str) -> None:
        socket = self._sockets.pop(namespace, None)
        if socket is not None:
            await self._handlers[namespace].disconnect(socket, reason)
