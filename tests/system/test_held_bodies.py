"""Bodies of requests whose clients are gone while the work on them goes on."""

import asyncio
from pathlib import Path

from events.http_server import BODIES_OF_ADDRESS
from tests.redis_server import free_port
from tests.system.small_bodies import MAX_BODY_BYTES
from tests.system.sockets import tcp
from tests.system.stack import DEADLINE_S, Stack

ADDRESS = "127.0.0.8"


async def ask(port: int, path: str, address: str = "127.0.0.1", size: int = 0) -> tuple[int, bytes]:
    """Status and body of the answer to a request with a body of so many bytes."""
    async with tcp(port, address) as (reader, writer):
        send(writer, path, size)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split()[1]), body


async def ask_and_leave(port: int, path: str) -> None:
    async with tcp(port, ADDRESS) as (_, writer):
        send(writer, path, MAX_BODY_BYTES)


def send(writer: asyncio.StreamWriter, path: str, size: int) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode() + size * b"x")


async def test_a_body_counts_until_the_work_on_its_request_has_ended(tmp_path: Path) -> None:
    port = free_port()
    with Stack(tmp_path, None, DJANGO_SETTINGS_MODULE="tests.system.small_bodies") as stack:
        await asyncio.to_thread(stack.run("-m", "tests.system.holding_app", str(port)).await_log, "listening")
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(BODIES_OF_ADDRESS):
                await ask_and_leave(port, "/hold")
            while (await ask(port, "/gone"))[1] != str(BODIES_OF_ADDRESS).encode():
                continue
            assert (await ask(port, "/gone", ADDRESS, MAX_BODY_BYTES))[0] == 503
            assert (await ask(port, "/gone", "127.0.0.9", MAX_BODY_BYTES))[0] == 200
            await ask(port, "/release")
            while (await ask(port, "/gone", ADDRESS, MAX_BODY_BYTES))[0] == 503:
                continue
