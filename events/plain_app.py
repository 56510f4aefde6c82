"""Plain JSON over WebSocket: `{"event": …, "data": …}` both ways, and `"id"` where the client wants an answer to a command."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from events.commands import CommandHandler
from events.conf import EventsConfig
from events.connection import FLOODED
from events.domain import errors
from events.domain.errors import CommandError
from events.fanout.session import DRAINING, ClientInfo, Session
from events.fanout.wire import Dialect, Pipe
from events.gate import Gate
from events.limits.rate import TokenBucket
from events.protocol.websocket import NORMAL, SERVICE_RESTART
from events.turns import Turns


class PlainApp:
    """One client. `over` once it was told to go: what it sent before it hears of that is nobody's any more."""

    def __init__(self, session: Session, commands: CommandHandler, gate: Gate) -> None:
        self.session = session
        self._commands = commands
        self._gate = gate
        self._flood = TokenBucket(session.limits.flood)
        self.over = False

    async def receive(self, request: Any) -> None:
        """Take one message; None when it was not JSON."""
        if self.over:
            return
        if self._flood.take(asyncio.get_running_loop().time()):
            self._gate.count("flood")
            self._gate.offended(self.session.client.address)
            self.session.disconnect(FLOODED)
            return
        if not isinstance(request, dict) or not isinstance(request.get("event"), str):
            message = 'A message must be a JSON object with a command\'s name: {"event": "subscribe_workflow", "data": {…}}.'
            self._commands.refuse(self.session, CommandError(errors.INVALID_PAYLOAD, message, "event").payload())
            return
        if not isinstance(request.get("id", 0), str | int):
            error = CommandError(errors.INVALID_FIELD, "id must be a string or a whole number.", "id")
            self._commands.refuse(self.session, error.payload())
            return
        answer = await self._commands.handle(self.session, request["event"], request.get("data"))
        if "id" in request:
            self.session.emit("ack", {"id": request["id"], "data": answer})


def _nothing(_reason: str) -> None:
    """There is nobody to disconnect."""


class PlainEndpoint:
    """The plain WebSockets of this process."""

    def __init__(self, commands: Callable[[], Awaitable[CommandHandler]], config: EventsConfig, gate: Gate) -> None:
        self.gate = gate
        self._commands = commands
        self._config = config
        self._apps: dict[PlainApp, CommandHandler] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.max_payload_bytes = config.max_payload_bytes
        self.turns = Turns()

    async def open(self, pipe: Pipe, client: ClientInfo, hang_up: Callable[[int], None]) -> PlainApp:
        """A client connected, which the gate has admitted."""
        commands = await self._commands()

        def disconnect(reason: str) -> None:
            self.forget(app, reason)
            hang_up(SERVICE_RESTART if reason == DRAINING else NORMAL)

        session = Session(
            secrets.token_urlsafe(15), Dialect.PLAIN, pipe, self._config.session, client, disconnect, transport="plain"
        )
        app = PlainApp(session, commands, self.gate)
        self._apps[app] = commands
        self.gate.enter(client.address)
        await commands.connect(session, {})
        return app

    def forget(self, app: PlainApp, reason: str) -> None:
        """A client is gone, or is to go."""
        app.over = True
        commands = self._apps.pop(app, None)
        if commands is not None:
            self.gate.leave(app.session.client.address)
            task = asyncio.get_running_loop().create_task(self._end(app, commands, reason))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _end(self, app: PlainApp, commands: CommandHandler, reason: str) -> None:
        try:
            await commands.disconnect(app.session, reason)
        finally:
            # The way back from the session to what holds it: only the garbage collector, which comes rarely, would undo it.
            app.session.disconnect = _nothing

    def close_all(self, reason: str) -> None:
        """End every connection."""
        for app in list(self._apps):
            app.session.disconnect(reason)
