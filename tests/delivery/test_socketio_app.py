"""Namespaces of one connection."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from events.access.authority import Authority
from events.commands import CommandHandler
from events.connection import EngineEndpoint
from events.fanout.session import ClientInfo
from events.protocol.engineio import EngineConfig
from events.socketio_app import ConnectRefused, Socket, SocketIOApp
from events.workflow_namespace import WorkflowNamespace
from tests.fanout.support import RecordingPipe, stage


class Namespace:
    """Lets clients in unless it is closed."""

    closed = False
    sid = ""

    async def connect(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        if self.closed:
            raise ConnectRefused("closed")

    async def connected(self, socket: Socket, auth: Mapping[str, Any]) -> None:
        self.sid = socket.sid
        if "greet" in auth:
            socket.emit("hello")

    async def event(self, socket: Socket, name: str, args: Sequence[Any], ack_id: int | None) -> None:
        """Nothing to answer."""

    def upgraded(self, socket: Socket) -> None:
        """Nothing to change."""

    async def disconnect(self, socket: Socket, reason: str) -> None:
        """Nothing to clean up."""


async def test_a_client_is_known_by_its_socket_in_the_main_namespace_once_it_is_let_in() -> None:
    main, other = Namespace(), Namespace()
    endpoint = EngineEndpoint(lambda connection: SocketIOApp(connection, {"/": main, "/other": other}, 1_000), EngineConfig())
    pipe = RecordingPipe()
    connection = endpoint.create("websocket", pipe, ClientInfo("192.0.2.1"))
    main.closed = True
    await connection.app.message("0")
    assert pipe.messages[-1].payload == b'44{"message":"closed"}'
    assert connection.client_sid == ""
    main.closed = False
    await connection.app.message("0")
    assert connection.client_sid == main.sid != ""
    await connection.app.message("0/other,")
    assert other.sid != main.sid
    assert connection.client_sid == main.sid


async def test_a_greeting_leaves_with_the_answer() -> None:
    endpoint = EngineEndpoint(lambda connection: SocketIOApp(connection, {"/": Namespace()}, 1_000), EngineConfig())
    pipe = RecordingPipe()
    connection = endpoint.create("websocket", pipe, ClientInfo("192.0.2.1"))
    await connection.app.message('0{"greet":true}')
    assert [message.payload for message in pipe.messages][1:] == [b'42["hello"]']
    assert (pipe.pieces, pipe.held) == ([2], False)


async def test_only_a_client_that_was_known_gets_more_time_when_it_leaves() -> None:
    async with stage() as world:
        config = replace(world.config, auth_tokens=("sesame-0123456789",), require_auth=True)

        async def stats() -> dict[str, Any]:
            return {}

        handler = CommandHandler(world.hub, config, Authority(config), stats)

        async def commands() -> CommandHandler:
            return handler

        namespace = WorkflowNamespace(commands, config)
        endpoint = EngineEndpoint(lambda connection: SocketIOApp(connection, {"/": namespace}, 1_000), EngineConfig())
        connection = endpoint.create("websocket", RecordingPipe(), ClientInfo("192.0.2.1"))
        began = connection.unknown_since
        for hello, longer in (("0", False), ('0{"token":"wrong"}', False), ('0{"token":"sesame-0123456789"}', True)):
            await connection.app.message(hello)
            await connection.app.message("1")
            assert (connection.unknown_since > began) is longer
        endpoint.close_all("the end")
