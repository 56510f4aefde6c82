"""The guide's protocol on Socket.IO's main namespace."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from events.commands import CommandHandler
from events.conf import EventsConfig
from events.fanout.session import Session
from events.fanout.wire import Dialect
from events.socketio_app import Socket


class WorkflowNamespace:
    """Turns sockets into sessions."""

    def __init__(self, commands: Callable[[], Awaitable[CommandHandler]], config: EventsConfig) -> None:
        self._commands = commands
        self._config = config
        self._sessions: dict[str, tuple[Session, CommandHandler]] = {}

    async def connect(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        """Everybody is let in; what an unauthenticated client may do is for the commands to say."""

    async def connected(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        connection = socket.connection
        session = Session(
            socket.sid,
            Dialect.SOCKETIO,
            connection.pipe,
            self._config.session,
            connection.client,
            connection.close,
            transport=connection.session.transport,
            unknown_since=connection.unknown_since,
        )
        commands = await self._commands()
        self._sessions[socket.sid] = (session, commands)
        await commands.connect(session, auth)

    async def event(self, socket: Socket, name: str, args: Sequence[Any], ack_id: int | None) -> None:
        session, commands = self._sessions[socket.sid]
        answer = await commands.handle(session, name, args[0] if args else None)
        if ack_id is not None and not session.closed:
            socket.acknowledge(ack_id, answer)

    def upgraded(self, socket: Socket) -> None:
        session, commands = self._sessions[socket.sid]
        commands.upgrade(session, socket.connection.pipe)

    async def disconnect(self, socket: Socket, reason: str) -> None:
        session, commands = self._sessions.pop(socket.sid)
        socket.connection.unknown_since = session.unknown_since if session.grant is None else time.monotonic()
        await commands.disconnect(session, reason)
