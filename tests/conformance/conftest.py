"""The echo application under the two servers that offer a way to the transport of their own."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.system.stack import DEADLINE_S, Server, Stack, await_condition

APPLICATION = "tests.conformance.echo_app:application"

PING_INTERVAL_MS, PING_TIMEOUT_MS = 800, 3_000
HEARTBEAT_MS = f"{PING_INTERVAL_MS} {PING_TIMEOUT_MS}"


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("conformance")) as running:
        yield running


@pytest.fixture(scope="package", params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest, stack: Stack) -> Server:
    started: Server = getattr(stack, request.param)(APPLICATION, wait=False, ECHO_HEARTBEAT_MS=HEARTBEAT_MS)
    ready = "/engine.io/?EIO=4&transport=polling"
    await_condition(lambda: started.get(ready)[0] == 200, lambda: started.log)
    return started


class Peer:
    """A client without a library: requests and frames as a test wants them."""

    def __init__(self, server: Server, path: str, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.path = path
        self.http = http
        self._sockets: list[ClientConnection] = []

    # -- long-polling ---------------------------------------------------------------------------------------------------

    async def request(self, method: str, query: str, body: str | bytes | None = None) -> tuple[int, str]:
        async with self.http.request(method, f"{self.server.url}{self.path}?{query}", data=body) as answer:
            return answer.status, await answer.text()

    async def open_polling(self) -> str:
        """A new session; returns its id."""
        status, body = await self.request("GET", "EIO=4&transport=polling")
        assert status == 200
        assert body[0] == "0"
        sid: str = json.loads(body[1:])["sid"]
        return sid

    async def poll(self, sid: str) -> tuple[int, str]:
        return await self.request("GET", f"EIO=4&transport=polling&sid={sid}")

    async def start_poll(self, sid: str) -> "asyncio.Task[tuple[int, str]]":
        """A poll whose request the session has when this returns. Cancelling the task ends the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        head = f"GET {self.path}?EIO=4&transport=%s&sid={sid} HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n"
        # A new connection is slower than an old one. The refusal of the first request shows that it is an old one now.
        writer.write((head % ("none", "keep-alive")).encode())
        await reader.readuntil(b"}")
        writer.write((head % ("polling", "close")).encode())
        await writer.drain()
        # The session has taken the poll in when a push that was sent after it is answered.
        await self.push(sid, "3")
        answer = asyncio.create_task(_read_answer(reader, writer))
        await asyncio.sleep(0)
        return answer

    async def push(self, sid: str, body: str | bytes) -> tuple[int, str]:
        return await self.request("POST", f"EIO=4&transport=polling&sid={sid}", body)

    async def poll_message(self, sid: str) -> str:
        """The next payload that is more than a ping; pings are answered."""
        while True:
            status, body = await self.poll(sid)
            assert status == 200, body
            if body != "2":
                return body
            await self.push(sid, "3")

    # -- WebSocket ------------------------------------------------------------------------------------------------------

    async def websocket(self, query: str = "EIO=4&transport=websocket") -> "Frames":
        socket = await connect(f"{self.server.ws_url}{self.path}?{query}", max_size=None, open_timeout=DEADLINE_S)
        self._sockets.append(socket)
        return Frames(socket)

    async def open_websocket(self) -> "Frames":
        """After the Engine.IO handshake."""
        frames = await self.websocket()
        assert (await frames.next_text())[0] == "0"
        return frames

    async def upgrade(self, sid: str) -> "Frames":
        """A WebSocket for a session that polls; nothing has been sent on it."""
        return await self.websocket(f"EIO=4&transport=websocket&sid={sid}")

    async def close(self) -> None:
        for socket in self._sockets:
            await socket.close()


class Frames:
    """What comes on a WebSocket, one message after the other."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self._socket.send(message)

    async def next(self) -> str | bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self._socket.recv()

    async def next_text(self) -> str:
        message = await self.next()
        assert isinstance(message, str), message
        return message

    async def next_message(self) -> str | bytes:
        """The next message that is not a ping; pings are answered."""
        while (message := await self.next()) == "2":
            await self.send("3")
        return message

    async def take(self, count: int) -> list[str | bytes]:
        return [await self.next_message() for _ in range(count)]

    async def closed(self) -> int:
        """The close code, once the server has ended the connection. Pings are not answered."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                async for _ in self._socket:
                    pass
            except ConnectionClosed:
                pass  # Without a close frame.
            await self._socket.wait_closed()
        return self._socket.close_code or 0

    async def leave(self) -> None:
        await self._socket.close()


async def _read_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, str]:
    try:
        async with asyncio.timeout(DEADLINE_S):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


async def _peer(server: Server, path: str) -> AsyncIterator[Peer]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE_S)) as http:
        peer = Peer(server, path, http)
        yield peer
        await peer.close()


@pytest.fixture
async def engine(server: Server) -> AsyncIterator[Peer]:
    async for peer in _peer(server, "/engine.io/"):
        yield peer


@pytest.fixture(params=["/engine.io/", "/socket.io/"])
async def either(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    """The transport is the same under both protocols."""
    async for peer in _peer(server, request.param):
        yield peer


@pytest.fixture
async def socketio(server: Server) -> AsyncIterator[Peer]:
    async for peer in _peer(server, "/socket.io/"):
        yield peer


def check_handshake(packet: str, upgrades: list[str]) -> str:
    """The OPEN packet of the echo application; returns the session's id."""
    assert packet[0] == "0"
    handshake: dict[str, Any] = json.loads(packet[1:])
    sid = handshake.pop("sid")
    assert isinstance(sid, str)
    assert handshake == {
        "upgrades": upgrades,
        "pingInterval": PING_INTERVAL_MS,
        "pingTimeout": PING_TIMEOUT_MS,
        "maxPayload": 1_000_000,
    }
    return sid
