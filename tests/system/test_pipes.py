"""The three ways out of a WebSocket send the same messages in the same order, under the servers that offer them."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.system.clients import until
from tests.system.stack import DEADLINE_S, Server, Stack, await_condition

APPLICATION = "tests.system.pipe_app:application"

WAYS = {
    "daphne": ("daphne", "/", "TwistedPipe"),
    "daphne-wrapped": ("daphne", "/wrapped", "AsgiPipe"),
    "uvicorn": ("uvicorn", "/", "AsyncioPipe"),
    "uvloop": ("uvloop", "/", "AsyncioPipe"),
    "uvicorn-wrapped": ("uvicorn", "/wrapped", "AsgiPipe"),
    "wsproto": ("wsproto", "/", "AsyncioPipe"),
}

#: As docs/operations.md has it.
UVLOOP = ("--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio")

#: Through daphne's `send` nobody can see what its transport has not sent yet.
WAYS_THAT_TELL = [way for way in WAYS if way != "daphne-wrapped"]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    folder: Path = tmp_path_factory.mktemp("pipes")
    with Stack(folder) as stack:
        started = {
            "daphne": stack.daphne(APPLICATION, wait=False),
            "uvicorn": stack.uvicorn(APPLICATION, "--loop", "asyncio", wait=False),
            "uvloop": stack.uvicorn(APPLICATION, *UVLOOP, wait=False),
            "wsproto": stack.uvicorn(APPLICATION, "--loop", "asyncio", "--ws", "wsproto", wait=False),
        }
        for server in started.values():
            await_condition(lambda server=server: server.get("/pending")[0] == 200, lambda server=server: server.log)  # type: ignore[misc]
        yield started


def expected(count: int, size: int) -> list[str | bytes]:
    messages: list[str | bytes] = []
    for number in range(count):
        text = f"{number}:{'ä' * (size // 2)}"
        messages += [text] if number % 3 else [text, "-", text]
        messages.append(bytes([number % 256]) * size)
    return messages


async def take(socket: ClientConnection, count: int) -> list[str | bytes]:
    async with asyncio.timeout(DEADLINE_S):
        return [await socket.recv() for _ in range(count)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("compression", ["deflate", None], ids=["deflate", "plain"])
@pytest.mark.parametrize("size", [2, 124, 126, 65_534, 65_536, 300_000])
async def test_each_message_once_and_in_order(servers: dict[str, Server], way: str, size: int, compression: str | None) -> None:
    program, path, pipe = WAYS[way]
    url = servers[program].ws_url + path
    async with connect(url, max_size=None, compression=compression) as socket:
        assert await take(socket, 1) == [pipe]
        await socket.send(f"burst 7 {size}")
        assert await take(socket, 20) == expected(7, size)


@pytest.mark.parametrize("way", WAYS_THAT_TELL)
async def test_a_reader_that_pauses(servers: dict[str, Server], way: str) -> None:
    """Until it reads, the server holds the rest and knows how much; what is written meanwhile comes behind it."""
    program, path, pipe = WAYS[way]
    server = servers[program]

    def pending() -> int:
        return int(server.get("/pending")[1])

    async with connect(server.ws_url + path, max_size=None, max_queue=1, compression=None) as socket:
        assert await take(socket, 1) == [pipe]
        await socket.send("burst 60 300000")
        condition: Callable[[], bool] = lambda: pending() > 10_000_000  # noqa: E731
        await until(condition, lambda: f"bytes that wait: {pending()}")
        await socket.send("burst 3 10")
        assert await take(socket, 160) == expected(60, 300_000)
        assert await take(socket, 8) == expected(3, 10)
        await until(lambda: pending() == 0, lambda: f"bytes that still wait: {pending()}")


async def test_a_reader_that_pauses_behind_the_send_of_daphne(servers: dict[str, Server]) -> None:
    """All of it comes and in order, though the pipe knows of no backlog."""
    program, path, _ = WAYS["daphne-wrapped"]
    async with connect(servers[program].ws_url + path, max_size=None, max_queue=1, compression=None) as socket:
        await take(socket, 1)
        await socket.send("burst 60 300000")
        await until(lambda: servers[program].get("/pending") == (200, b"0"), "the server to have written everything")
        await socket.send("burst 3 10")
        assert await take(socket, 168) == [*expected(60, 300_000), *expected(3, 10)]


@pytest.mark.parametrize("way", WAYS_THAT_TELL)
async def test_writing_to_a_connection_that_is_gone(servers: dict[str, Server], way: str) -> None:
    """No failure, and nothing is kept for it. The log of the module's servers is looked through at the end."""
    program, path, _ = WAYS[way]
    server = servers[program]
    socket = await connect(server.ws_url + path, max_size=None, max_queue=1, compression=None)
    await take(socket, 1)
    await socket.send("burst 60 300000")
    await until(lambda: int(server.get("/pending")[1]) > 10_000_000, "bytes that wait")
    socket.transport.abort()
    await socket.wait_closed()
    async with connect(server.ws_url + path) as other:
        assert await take(other, 1) == [WAYS[way][2]]
