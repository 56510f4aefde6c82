"""Requests that trickle, that never end, or that are far too large; sockets whose other end is gone: none is kept."""

import asyncio
import json
from collections.abc import Iterator

import aiohttp
import pytest

from tests.system.event_data import run_of
from tests.system.sockets import PING, raw_websocket, tcp
from tests.system.stack import DEADLINE_S, Server, Stack, request

ENGINE = "/socket.io/?EIO=4&transport=websocket"
MANY_MB = 40_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    quick = {"WS_REQUEST_TIMEOUT_S": "1", "WS_PING_INTERVAL_MS": "300", "WS_PING_TIMEOUT_MS": "300"}
    with Stack(tmp_path_factory.mktemp("slow"), None, **quick) as stack:
        yield stack.serve()


async def trickle(server: Server, head: bytes) -> bytes:
    """Send `head`, and then a byte now and then until the server has had enough. Returns what it said."""
    async with tcp(server.port) as (reader, writer):
        writer.write(head)
        answer = asyncio.ensure_future(reader.read())
        async with asyncio.timeout(DEADLINE_S):
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait([answer], timeout=0.1)
        try:
            return answer.result()
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET /status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{",
        b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        b"GET ",
    ],
)
async def test_a_request_that_trickles_is_cut_while_a_connection_that_rests_stays(server: Server, head: bytes) -> None:
    whole = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with tcp(server.port) as (reader, writer):
        writer.write(whole)
        await reader.readuntil(b"\r\n\r\n")
        assert await trickle(server, head) == b""
        # This one has rested for longer than a request may take.
        writer.write(whole)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")


async def test_a_connection_that_says_nothing_is_cut(server: Server) -> None:
    async with tcp(server.port) as (reader, _), asyncio.timeout(DEADLINE_S):
        assert await reader.read() == b""


@pytest.mark.parametrize("path", ["/api/events", "/socket.io/?EIO=4&transport=polling&sid=x", "/status", "/nothing"])
def test_a_body_of_40_mb_is_refused_with_the_reason_wherever_it_goes(server: Server, path: str) -> None:
    body = b'{"type":"' + b"x" * MANY_MB + b'"}'
    status, answer = request(server.url + path, body, {"Content-Type": "application/json"})
    assert (status, json.loads(answer)) == (413, {"message": "The body is too large for this server."})


@pytest.mark.parametrize("path", [ENGINE, "/ws/events"])
async def test_a_socket_whose_other_end_is_gone_is_cut(server: Server, path: str) -> None:
    """It reads, and answers no ping: what a peer that lost its network looks like from here."""
    async with raw_websocket(server, path) as socket:
        frames = await socket.read_to_end()
    assert frames
    if path != ENGINE:
        assert PING in [opcode for opcode, _ in frames]


@pytest.mark.parametrize("path", [ENGINE, "/ws/events"])
async def test_compression_is_not_negotiated_and_a_compressed_frame_ends_the_socket(server: Server, path: str) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    async with aiohttp.ClientSession() as http, http.ws_connect(server.url + path, headers=offer, compress=0) as accepted:
        assert accepted._response.headers.get("Sec-WebSocket-Extensions") is None
    async with raw_websocket(server, path) as socket:
        await socket.read()
        socket.write(0x1, b"\xaa\x56\x4a\x4e", reserved=4)
        await socket.read_to_end()


def test_the_server_serves_on(server: Server) -> None:
    assert server.publish(run_of(1, "after")[0])[0] == 202
