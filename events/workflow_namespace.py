"""The guide's protocol on Socket.IO's main namespace."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from events.commands import CommandHandler
from events.conf import EventsConfig
from events.fanout.session import Session
from events.fanout.wire import Dialect
from events.socketio_app import Socket


class WorkflowNamespace:
    """One client's session."""

    def __init__(self, commands: Callable[[], Awaitable[CommandHandler]], config: EventsConfig) -> None:
        self._find_commands = commands
        self._config = config
        self._commands: CommandHandler | None = None
        self._session: Session | None = None

    async def connect(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        """Everybody is let in; what an unauthenticated client may do is for the commands to say."""
        self._commands = await self._find_commands()

    async def connected(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        connection = socket.connection
        self._session = Session(
            socket.sid,
            Dialect.SOCKETIO,
            connection.pipe,
            self._config.session,
            connection.client,
            connection.close,
            transport=connection.session.transport,
        )
        assert self._commands is not None
        await self._commands.connect(self._session, auth)

    async def event(self, socket: Socket, name: str, args: Sequence[Any], ack_id: int | None) -> None:
        assert self._commands is not None
        assert self._session is not None
        answer = await self._commands.handle(self._session, name, args[0] if args else None)
        if ack_id is not None and not self._session.closed:
            socket.acknowledge(ack_id, answer)

    def upgraded(self, socket: Socket) -> None:
        assert self._session is not None
        self._session.pipe = socket.connection.pipe
        self._session.transport = "websocket"

    async def disconnect(self, socket: Socket, reason: str) -> None:
        assert self._commands is not None
        if self._session is not None:
            await self._commands.disconnect(self._session, reason)
            self._session = None
