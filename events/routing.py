"""Which socket goes where."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import URLRouter
from django.conf import settings
from django.urls import re_path

from events.commands import CommandHandler
from events.conf import EventsConfig
from events.connection import EngineConnection, EngineEndpoint
from events.consumers import ClosedConsumer, EnginePollingConsumer, EngineWebSocketConsumer, PlainWebSocketConsumer
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
        self._plain = PlainEndpoint(commands, config, gate)

        def make_app(connection: EngineConnection) -> SocketIOApp:
            return SocketIOApp(
                connection,
                {"/": WorkflowNamespace(commands, config)},
                config.max_payload_bytes,
                config.connect_timeout_ms / 1000,
            )

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

    def websocket(self) -> URLRouter:
        return URLRouter(
            [
                re_path(r"^socket\.io/?$", EngineWebSocketConsumer.as_asgi(endpoint=self._engine)),
                re_path(r"^ws/events/?$", PlainWebSocketConsumer.as_asgi(endpoint=self._plain)),
                re_path(r"", ClosedConsumer.as_asgi()),
            ]
        )

    async def close(self, reason: str) -> None:
        """End every connection; returns after the sockets had a turn of the loop to take their close frames."""
        self._engine.close_all(reason)
        self._plain.close_all(reason)
        await asyncio.sleep(0.05)
