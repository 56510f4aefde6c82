"""The ASGI application of a server process."""

import asyncio
import math
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured

from events.access.authority import Authority
from events.access.watch import GrantWatch
from events.asgi_types import Receive, Send
from events.checks import configuration_errors, describe
from events.collector import YOUNG_OF_SERVERS, settle
from events.commands import CommandHandler
from events.conf import EventsConfig
from events.demo import DemoExecutor
from events.drain import Drain, is_new_client, turn_away
from events.proxies import behind_proxy
from events.request_door import RequestDoor
from events.routing import Application, Sockets
from events.stats import stats_update
from events.wiring import ServerProcess, server

log = structlog.get_logger("events")

#: Clients may be told statistics as old as this.
STATS_AGE_S = 1.0


class StatsCache:
    """What `request_stats` is answered: read at most once a second, however many clients ask."""

    def __init__(self, process: ServerProcess) -> None:
        self._process = process
        self._read_at = -math.inf
        self._body: dict[str, Any] = {}

    async def read(self) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        if now - self._read_at >= STATS_AGE_S:
            self._body, self._read_at = await stats_update(self._process), now
        return self._body


class ServerApplication:
    """Sockets to their consumers, other requests to Django, and the server process behind both started by whoever comes
    first: daphne has no lifespan, and other servers have nothing else."""

    def __init__(self, django: Application, config: EventsConfig) -> None:
        self._commands: tuple[ServerProcess, CommandHandler] | None = None
        self._proxies = config.trusted_proxies
        self._authority = Authority(config)
        self.sockets = Sockets(config, self.commands, self.refused)
        self._applications: dict[str, Application] = {
            "http": self.sockets.http(RequestDoor(django, config.access.requests_per_address, self.refused)),
            "websocket": self.sockets.websocket(),
        }

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await self.commands()
        if self._proxies is not None:
            scope = behind_proxy(scope, self._proxies)
        if server.process is not None and server.process.draining and is_new_client(scope):
            self.refused("draining")
            await turn_away(scope, receive, send)
            return
        await self._applications[scope["type"]](scope, receive, send)

    async def start(self) -> None:
        """Start before the first client comes; what there is by then stays for as long as the process lives."""
        await self.commands()
        settle(YOUNG_OF_SERVERS)

    async def commands(self) -> CommandHandler:
        """The command handler of the running server process."""
        process = await server.ensure()
        if self._commands is None or self._commands[0] is not process:
            handler = CommandHandler(process.hub, process.config, self._authority, StatsCache(process).read)
            GrantWatch(handler.granted, self._authority, handler).start(process.tasks)
            self._commands = (process, handler)
            if process.config.demo and process.config.embedded:
                executor = DemoExecutor(process.config.demo_rate)
                process.tasks.start("demo", lambda: executor.run(process.adapters.bus.publish))
        return self._commands[1]

    def refused(self, rule: str) -> None:
        """Count that a client or a request was not taken, by the rule."""
        if self._commands is not None:
            self._commands[0].hub.counters.count("refused", rule)

    async def drain(self) -> bool:
        """Take no new clients, and let those that are here go within the window that is set. Returns when they have been
        closed; False when there is no window, so that nothing was done."""
        process = server.process
        if process is not None and process.config.drain_s > 0:
            await Drain(process, process.config.drain_s).run()
            return True
        return False

    async def close(self, reason: str) -> None:
        """End every connection, then the process behind them."""
        await self.sockets.close(reason)
        await server.stop()
        self._authority.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close("server shutting down")
                await send({"type": "lifespan.shutdown.complete"})
                return


def build_application(django: Application) -> ServerApplication:
    """The application around Django's. Raises `ImproperlyConfigured` for an unsafe configuration."""
    problems = configuration_errors()
    if problems:
        raise ImproperlyConfigured(describe(problems))
    return ServerApplication(django, EventsConfig.from_settings())
