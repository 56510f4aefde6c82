"""Which socket goes where."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import URLRouter
from django.conf import settings
from django.urls import re_path

from events.asgi_types import Receive, Send
from events.commands import CommandHandler
from events.conf import EventsConfig
from events.connection import EngineConnection, EngineEndpoint
from events.consumers import (
    ClosedConsumer,
    EnginePollingConsumer,
    EngineWebSocketConsumer,
    LeanConsumer,
    PlainWebSocketConsumer,
)
from events.gate import Gate
from events.live import live_app
from events.plain_app import PlainEndpoint
from events.protocol.engineio import EngineConfig
from events.socketio_app import SocketIOApp
from events.workflow_namespace import WorkflowNamespace

#: An ASGI application. Django's type of a route's target knows views only.
Application = Callable[..., Any]


class Sockets:
    """The sockets of one server process: where they are served, and how all of them are ended."""

    def __init__(
        self, config: EventsConfig, commands: Callable[[], Awaitable[CommandHandler]], refused: Callable[[str], None]
    ) -> None:
        """`refused` is told the rule by which a client was not let in."""
        gate = Gate(settings.ALLOWED_HOSTS, config.allowed_origins, config.access, refused)
        #: How fast clients come, of each address.
        self.arrivals = gate.arrivals
        self._plain = PlainEndpoint(commands, config, gate)

        # One for all connections: it knows clients by their sid.
        handlers = {"/": WorkflowNamespace(commands, config)}

        connect_s = config.connect_timeout_ms / 1000
        if config.require_auth:
            connect_s = min(connect_s, config.access.auth_s)

        def make_app(connection: EngineConnection) -> SocketIOApp:
            return SocketIOApp(connection, handlers, config.max_payload_bytes, connect_s)

        engine = EngineConfig(config.ping_interval_ms, config.ping_timeout_ms, config.max_payload_bytes)
        self._engine = EngineEndpoint(make_app, engine, gate, config.session.flood)

    def http(self, fallback: Application) -> URLRouter:
        """Long-polling, and `fallback` for every other request."""
        live: Application = live_app
        return URLRouter(
            [
                re_path(r"^socket\.io/?$", EnginePollingConsumer.as_asgi(endpoint=self._engine)),
                re_path(r"^health/live/?$", live),
                re_path(r"", fallback),
            ]
        )

    def websocket(self) -> Application:
        """A consumer for each socket. Channels' `URLRouter` would keep a copy of the scope for as long as the socket lives."""

        def route(scope: dict[str, Any], receive: Receive, send: Send) -> Awaitable[None]:
            return self._consumer(scope["path"])(scope, receive, send)

        return route

    def _consumer(self, path: str) -> LeanConsumer:
        match path.removesuffix("/"):
            case "/socket.io":
                return EngineWebSocketConsumer(self._engine)
            case "/ws/events":
                return PlainWebSocketConsumer(self._plain)
        return ClosedConsumer()

    async def close(self, reason: str) -> None:
        """End every connection; returns after the sockets had a turn of the loop to take their close frames."""
        self._engine.close_all(reason)
        self._plain.close_all(reason)
        await asyncio.sleep(0.05)
