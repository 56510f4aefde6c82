"""Requests that trickle, that never end, or that are far too large; sockets whose other end is gone: none is kept."""

import asyncio
import json
import re
from collections.abc import Iterator

import aiohttp
import pytest
from django.conf import settings

from events.http_server import TOO_LARGE
from tests.system.event_data import run_of
from tests.system.sockets import PING, raw_websocket, tcp
from tests.system.stack import DEADLINE_S, Server, Stack, await_condition, request

ENGINE = "/socket.io/?EIO=4&transport=websocket"
MANY_MB = 40_000_000
HEAD_BYTES = 4_096

#: More than a message may have, and far less than a body of HTTP.
MESSAGE_BYTES = 1_100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    quick = {
        "WS_REQUEST_TIMEOUT_S": "1",
        "WS_MAX_HEADER_BYTES": str(HEAD_BYTES),
        "WS_PING_INTERVAL_MS": "300",
        # A test that stands still for a moment on a busy machine is none of those that do not answer.
        "WS_PING_TIMEOUT_MS": "3000",
    }
    with Stack(tmp_path_factory.mktemp("slow"), None, **quick) as stack:
        yield stack.serve()


def counted(server: Server, rule: str) -> int:
    """How often something was refused by a rule. What was counted shows a moment later."""
    text = server.get("/metrics?format=prometheus")[1].decode()
    found = re.search(rf'^wsserver_refused_total{{.*rule="{rule}".*}} (\S+)$', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def await_counted(server: Server, rule: str, more_than: int) -> None:
    await_condition(lambda: counted(server, rule) > more_than, lambda: f"another refusal by {rule}")


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
    before = counted(server, "request_time")
    async with tcp(server.port) as (reader, writer):
        writer.write(whole)
        await reader.readuntil(b"\r\n\r\n")
        assert await trickle(server, head) == b""
        # This one has rested for longer than a request may take.
        writer.write(whole)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    await asyncio.to_thread(await_counted, server, "request_time", before)


async def test_a_connection_that_says_nothing_is_cut(server: Server) -> None:
    async with tcp(server.port) as (reader, _), asyncio.timeout(DEADLINE_S):
        assert await reader.read() == b""


@pytest.mark.parametrize("path", ["/api/events", "/socket.io/?EIO=4&transport=polling&sid=x", "/status", "/nothing"])
def test_a_body_of_40_mb_is_refused_with_the_reason_wherever_it_goes(server: Server, path: str) -> None:
    body = b'{"type":"' + b"x" * MANY_MB + b'"}'
    before = counted(server, "body")
    status, answer = request(server.url + path, body, {"Content-Type": "application/json"})
    message = json.loads(answer)["message"]
    assert (status, message) == (413, TOO_LARGE.format(len(body), settings.MAX_BODY_BYTES))
    await_counted(server, "body", before)


def test_a_polling_body_over_the_limit_of_messages_is_counted(server: Server) -> None:
    before = counted(server, "body")
    assert request(f"{server.url}/socket.io/?EIO=4&transport=polling&sid=x", b"4" + b"x" * MESSAGE_BYTES)[0] == 413
    await_counted(server, "body", before)


@pytest.mark.parametrize("path", [ENGINE, "/ws/events"])
@pytest.mark.parametrize(
    ("rule", "text", "reserved"), [("body", b"4" * (MESSAGE_BYTES + 1), 0), ("utf8", b"4\xff", 0), ("framing", b"4", 5)]
)
async def test_frames_that_are_refused_are_counted(server: Server, path: str, rule: str, text: bytes, reserved: int) -> None:
    before = await asyncio.to_thread(counted, server, rule)
    async with raw_websocket(server, path) as socket:
        await socket.read_text()
        socket.write(0x1, text, reserved=reserved)
        await socket.read_to_end()
    await asyncio.to_thread(await_counted, server, rule, before)


HEAD = b"GET /status HTTP/1.1\r\nHost: localhost\r\n"
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X-Long: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
        HEAD + b"X-Endless: " + b"x" * (HEAD_BYTES + 10),
        HEAD + b"X-Many: x\r\n" * (HEAD_BYTES // 9) + b"\r\n",
        HEAD + b"a:\r\n" * 501 + b"\r\n",
        b"GET /status?" + b"x" * HEAD_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD.replace(b"/status", ENGINE.encode()) + UPGRADE + b"Cookie: " + b"x" * HEAD_BYTES + b"\r\n\r\n",
    ],
    ids=["long", "endless", "many-long", "many", "line", "websocket"],
)
async def test_a_head_that_is_too_large_gets_431_and_is_counted(server: Server, head: bytes) -> None:
    before = await asyncio.to_thread(counted, server, "head")
    async with tcp(server.port) as (reader, writer), asyncio.timeout(DEADLINE_S):
        writer.write(head)
        answer = await reader.read()
    first, _, rest = answer.partition(b"\r\n")
    assert first == b"HTTP/1.1 431 Request Header Fields Too Large"
    assert "WS_MAX_HEADER_BYTES" in json.loads(rest.partition(b"\r\n\r\n")[2])["message"]
    await asyncio.to_thread(await_counted, server, "head", before)


def test_a_head_just_below_the_bound_is_served(server: Server) -> None:
    assert request(f"{server.url}/status", headers={"X-Long": "x" * (HEAD_BYTES - 400)})[0] == 200


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


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (HEAD + UPGRADE.replace(b"13", b"12") + b"\r\n", b"426"),
        (HEAD + UPGRADE.replace(b"AAAA", b"") + b"\r\n", b"400"),
        (b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n" + 20_000_000 * b"x", b"413"),
    ],
    ids=["version", "key", "body"],
)
async def test_a_refusal_that_says_so_ends_the_connection(server: Server, asked: bytes, status: bytes) -> None:
    async with tcp(server.port) as (reader, writer), asyncio.timeout(DEADLINE_S):
        writer.write(asked)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer.lower()
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "headers",
    [
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
    ],
)
async def test_a_body_whose_end_can_be_read_in_two_ways_is_refused(server: Server, headers: bytes) -> None:
    async with tcp(server.port) as (reader, writer), asyncio.timeout(DEADLINE_S):
        writer.write(b"POST /status HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


def test_the_server_serves_on(server: Server) -> None:
    assert server.publish(run_of(1, "after")[0])[0] == 202
