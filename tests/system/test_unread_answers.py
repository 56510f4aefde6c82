"""Clients that ask for more than they read: little is kept for them, and those that are only slow get all of it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from errno import ECONNRESET
from pathlib import Path

import pytest

from tests.redis_server import free_port
from tests.system.large_app import PART, PARTS
from tests.system.sockets import tcp
from tests.system.stack import DEADLINE_S, Stack, await_condition, request

#: At most so many bytes are kept of what comes behind an answer that is not taken: a few reads.
FEW = 65_536

#: So much is read before it is asked for.
AHEAD = 16_384

#: So many other requests are answered: a server that wants to go on with something has done it by then.
OTHERS = 30


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    chosen = free_port()
    with Stack(tmp_path_factory.mktemp("unread"), None) as stack:
        stack.run("-m", "tests.system.large_app", str(chosen)).await_log("listening")
        yield chosen


def ask(port: int, path: str = "/told") -> dict[str, int]:
    """What the application has done by now, or what is kept."""
    counts: dict[str, int] = json.loads(request(f"http://127.0.0.1:{port}{path}")[1])
    return counts


async def await_begun(port: int, before: dict[str, int]) -> dict[str, int]:
    """What it has done once it began with a large answer and had time for much else."""
    async with asyncio.timeout(DEADLINE_S):
        while (await asyncio.to_thread(ask, port))["begun"] == before["begun"]:
            continue
        for _ in range(OTHERS):
            now = await asyncio.to_thread(ask, port)
    return now


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    return await reader.readexactly(len(PART) * PARTS)


@pytest.mark.parametrize("path", ["/whole", "/parts"])
async def test_a_request_behind_an_unread_answer_waits_until_that_has_left(port: int, path: str) -> None:
    before = ask(port)
    async with tcp(port, limit=AHEAD) as (reader, writer), asyncio.timeout(DEADLINE_S):
        writer.write(3 * get(path))
        now = await await_begun(port, before)
        assert now["begun"] == before["begun"] + 1
        assert now["parts"] < before["parts"] + PARTS, "the next part waits until this one was taken"
        for _ in range(3):
            assert await read_answer(reader) == PART * PARTS


async def test_what_comes_behind_an_unread_answer_is_not_kept_without_end(port: int) -> None:
    before = ask(port)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(get("/whole"))
        await await_begun(port, before)
        client.setblocking(False)
        sent = 0
        for _ in range(OTHERS):
            with contextlib.suppress(BlockingIOError):
                while sent < 2 * FEW * OTHERS:
                    sent += client.send(FEW * b"x")
            assert (await asyncio.to_thread(ask, port, "/kept"))["bytes"] <= FEW
        assert sent > FEW, "there was more that could be kept"


@pytest.mark.parametrize("path", ["/whole", "/parts", "/whole and close"])
def test_who_takes_nothing_is_cut(tmp_path: Path, path: str) -> None:
    port = free_port()
    path, _, close = path.partition(" and ")
    asks = get(path)[:-2] + (b"Connection: close\r\n\r\n" if close else b"\r\n")
    with Stack(tmp_path, None, WS_REQUEST_TIMEOUT_S="0.5") as stack:
        stack.run("-m", "tests.system.large_app", str(port)).await_log("listening")
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(asks)
            await_condition(lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == ECONNRESET, lambda: "its end")
