"""What no client library sends: it ends its own connection at most, nobody else's, and no server writes a traceback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from websockets.frames import Frame, Opcode

from tests.system.clients import PythonClient
from tests.system.conftest import Connect
from tests.system.event_data import event
from tests.system.sockets import BINARY, CLOSE, PING, PONG, TEXT, RawSocket, raw_websocket, tcp
from tests.system.stack import DEADLINE_S, Server, Stack, await_condition

ENGINE = "/socket.io/?EIO=4&transport=websocket"
POLLING = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Left with a look through the logs: none of this may leave a traceback."""
    with Stack(tmp_path_factory.mktemp("hostile")) as running:
        yield running


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest, stack: Stack) -> Server:
    if request.param == "daphne":
        return stack.serve()
    server = stack.uvicorn()
    # uvicorn closes such a connection by itself, and logs it as an error before it reaches us.
    server.tolerated = "Invalid UTF-8 sequence received from client."
    return server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def neighbour(connect: Connect, server: Server) -> AsyncIterator[PythonClient]:
    """A client that must not notice anything: afterwards it still gets what it subscribed to."""
    client: PythonClient = await connect("python-websocket", server)
    await client.emit("subscribe_workflow", {"workflow_id": "neighbour"})
    await client.wait("subscribed")
    before = len(client.all("workflow_event"))
    yield client
    assert server.publish(event(1, "neighbour"))[0] == 202
    await client.wait("workflow_event", before + 1)
    assert not client.closed


# -- handshakes --------------------------------------------------------------------------------------------------------


async def test_a_handshake_that_comes_in_pieces_is_answered_like_a_whole_one(server: Server) -> None:
    head = (
        b"GET /ws/events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answers = []
    for size in (len(head), 60, 1):
        async with tcp(server.port) as (reader, writer), asyncio.timeout(DEADLINE_S):
            for start in range(0, len(head), size):
                writer.write(head[start : start + size])
                await writer.drain()
                await asyncio.sleep(0.001)
            answers.append(await reader.readuntil(b"\r\n\r\n"))
            assert b'"event":"connected"' in await reader.readuntil(b"}")
    assert answers[0].startswith(b"HTTP/1.1 101 ")
    # uvicorn tells the time as well.
    assert len({answer.partition(b"\r\ndate: ")[0] for answer in answers}) == 1


# -- frames ------------------------------------------------------------------------------------------------------------


def write_in_parts(socket: RawSocket, size: int) -> None:
    part = b"4" * (size // 7)
    socket.write(TEXT, part, final=False)
    for number in range(6):
        socket.write(0x0, part, final=number == 5)


BAD_FRAMES: dict[str, Callable[[RawSocket], None]] = {
    "text that is not UTF-8": lambda socket: socket.write(TEXT, b"4\xff\xfe\xc0"),
    "no mask": lambda socket: socket.write(TEXT, b"40", masked=False),
    "reserved bits": lambda socket: socket.write(TEXT, b"40", reserved=5),
    "unknown opcode": lambda socket: socket.write(0xB, b"40"),
    "continuation of nothing": lambda socket: socket.write(0x0, b"40"),
    "long control frame": lambda socket: socket.write(0x9, b"x" * 200),
    "close code of nobody": lambda socket: socket.write(CLOSE, b"\x00\x01"),
    "too large": lambda socket: socket.write(TEXT, b"4" + b"x" * 1_200_000),
    "too large in parts": lambda socket: write_in_parts(socket, 1_400_000),
    "no frame at all": lambda socket: socket.writer.write(b"GET / HTTP/1.1\r\n\r\n\x00\xff" * 20),
}


@pytest.mark.parametrize("bad", BAD_FRAMES)
@pytest.mark.parametrize("path", [ENGINE, "/ws/events"])
async def test_bad_frames(server: Server, neighbour: PythonClient, path: str, bad: str) -> None:
    async with raw_websocket(server, path) as socket:
        await socket.read_text()
        BAD_FRAMES[bad](socket)
        await socket.read_to_end()


async def test_frames_that_break_the_protocol_are_counted(server: Server) -> None:
    for bad in ("reserved bits", "text that is not UTF-8"):
        async with raw_websocket(server, "/ws/events") as socket:
            await socket.read_text()
            BAD_FRAMES[bad](socket)
            await socket.read_to_end()

    def counted() -> bool:
        text = server.get("/metrics?format=prometheus")[1].decode()
        return all(f'rule="{rule}"' in text for rule in ("framing", "utf8"))

    await asyncio.to_thread(await_condition, counted, lambda: "refusals by framing and utf8")


#: Frames that cost their sender nothing, behind the beginning of a message.
FLOODS = [
    Frame(Opcode.PING, b""),
    Frame(Opcode.PONG, b""),
    Frame(Opcode.CONT, b"", fin=False),
    Frame(Opcode.CONT, b"x", fin=False),
]


async def test_who_floods_with_frames_is_cut_and_others_may_ping(stack: Stack) -> None:
    server = stack.serve(WS_CLIENT_MESSAGES_PER_S="2")
    for path in (ENGINE, "/ws/events"):
        for flood in FLOODS:
            async with raw_websocket(server, path) as rude, raw_websocket(server, path) as calm:
                await rude.read_text()
                await calm.read_text()
                rude.write(TEXT, b"4", final=False)
                rude.writer.write(flood.serialize(mask=True) * 200)
                opcode, payload = (await rude.read_to_end())[-1]
                assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1_008)
                assert b"WS_CLIENT_MESSAGES_PER_S" in payload
                # As often as a keepalive does in minutes.
                for _ in range(8):
                    calm.write(PING, b"there?")
                    assert await calm.read() == (PONG, b"there?")

    def counted() -> bool:
        return 'rule="flood"' in server.get("/metrics?format=prometheus")[1].decode()

    await asyncio.to_thread(await_condition, counted, lambda: "refusals by flood")


BAD_PACKETS: dict[str, list[str | bytes]] = {
    "empty": [""],
    "no packet": ["abc"],
    "a packet of servers": ['0{"sid":"x"}'],
    "upgrade out of place": ["5"],
    "ping of a client": ["2"],
    "message of nothing": ["4"],
    "unknown Socket.IO packet": ["49"],
    "event before connecting": ['42["subscribe_workflow",{}]'],
    "binary before connecting": [b"\x00\x01"],
    "connect with a list": ["40[1]"],
    "connect twice": ["40", "40"],
    "event that is an object": ["40", "42{}"],
    "event without a name": ["40", "42[]"],
    "event named null": ["40", "42[null]"],
    "half an event": ["40", '42["subscribe_workflow",{'],
    "reserved event name": ["40", '42["disconnect"]'],
    "ack id of letters": ["40", '42abc["request_stats"]'],
    "ack id without end": ["40", f'42{"9" * 400}["request_stats"]'],
    "attachment of nothing": ["40", b"\x00\x01"],
    "more attachments than taken": ["40", '45999999-["x",{"_placeholder":true,"num":0}]'],
    "text instead of the attachment": ["40", '451-["x",{"_placeholder":true,"num":0}]', '42["x"]'],
    "placeholder without attachment": ["40", '451-["x",{"_placeholder":true,"num":7}]'],
    "connect error of a client": ["40", '44{"message":"x"}'],
    "nesting without end": ["40", '42["x",' + "[" * 100_000],
    "nesting that ends": ["40", '42["x",' + "[" * 5_000 + "]" * 5_000 + "]"],
}


@pytest.mark.parametrize("bad", BAD_PACKETS)
async def test_bad_packets(server: Server, neighbour: PythonClient, bad: str) -> None:
    async with raw_websocket(server, ENGINE) as socket:
        assert (await socket.read_text()).startswith("0")
        for packet in BAD_PACKETS[bad]:
            data = packet.encode() if isinstance(packet, str) else packet
            socket.write(TEXT if isinstance(packet, str) else BINARY, data)
        frames = await socket.read_to_end()
    assert frames, "the server says goodbye"
    assert frames[-1][0] == CLOSE


async def test_the_log_says_whose_breach_it_was(stack: Stack) -> None:
    server = stack.serve()
    for entry, breach in (("protocol_error", (TEXT, b"42{}")), ("websocket_violation", (TEXT, b"\xff"))):
        async with raw_websocket(server, ENGINE) as socket:
            await socket.read_text()
            socket.write(TEXT, b"40")
            sid = json.loads((await socket.read_text()).removeprefix("40"))["sid"]
            socket.write(*breach)
            await socket.read_to_end()
        await asyncio.to_thread(server.await_log, entry, sid)


@pytest.mark.parametrize(
    "bad", [b"abc", b"", b"\xff\xfe", b"4\x1e\x1e", b"b????", b"b4", b"4x\x1e" * 2_000, b"0", b"5", b"7\x1e40"]
)
async def test_bad_payloads_end_the_polling_session(
    server: Server, neighbour: PythonClient, http: aiohttp.ClientSession, bad: bytes
) -> None:
    async with http.get(server.url + POLLING) as answer:
        sid = json.loads((await answer.text())[1:])["sid"]
    async with http.post(f"{server.url}{POLLING}&sid={sid}", data=bad) as answer:
        status = answer.status
    async with http.get(f"{server.url}{POLLING}&sid={sid}") as answer:
        gone = answer.status, await answer.json(content_type=None)
    assert gone == (400, {"code": 1, "message": "Session ID unknown"}), (status, gone)


async def test_half_an_upgrade_request_and_garbage_on_the_port(server: Server, neighbour: PythonClient) -> None:
    for data in (
        b"GET /socket.io/?EIO=4",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
    ):
        async with tcp(server.port) as (_, writer):
            writer.write(data)
            await writer.drain()


async def test_a_websocket_where_there_is_nothing(server: Server, neighbour: PythonClient, http: aiohttp.ClientSession) -> None:
    for path in ("/", "/nothing", "/ws/other", "/admin/"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(server.url + path)
        assert refused.value.status == 403


# -- requests ----------------------------------------------------------------------------------------------------------


async def test_a_post_over_the_limit_is_refused_and_the_session_stays(
    server: Server, neighbour: PythonClient, http: aiohttp.ClientSession
) -> None:
    async with http.get(server.url + POLLING) as answer:
        sid = json.loads((await answer.text())[1:])["sid"]
    address = f"{server.url}{POLLING}&sid={sid}"
    async with http.post(address, data=b"4" + b"x" * 1_000_000) as answer:
        assert answer.status == 413
    async with http.post(address, data=b"40") as answer:
        assert (answer.status, await answer.text()) == (200, "ok")
    async with http.get(address) as answer:
        assert answer.status == 200
        assert '["connected",' in await answer.text()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("transport=polling", 5),
        ("EIO=3&transport=polling", 5),
        ("EIO=4", 0),
        ("EIO=4&transport=carrier-pigeon", 0),
        ("EIO=4&transport=polling&sid=nobody", 1),
        ("EIO=4&transport=websocket", 3),
        ("EIO=4&transport=polling&sid=%ff%00", 1),
        ("&".join(["EIO=4", "transport=polling", *(f"x{number}=1" for number in range(200))]), 3),
    ],
)
async def test_requests_that_cannot_be_served(server: Server, http: aiohttp.ClientSession, query: str, code: int) -> None:
    async with http.get(f"{server.url}/socket.io/?{query}") as answer:
        assert answer.status == 400
        body: dict[str, Any] = await answer.json()
        assert body["code"] == code
        assert body["message"]


async def test_cross_origin_rules_of_polling(stack: Stack, server: Server, http: aiohttp.ClientSession) -> None:
    headers = {"Origin": "https://dash.example.com"}
    async with http.get(server.url + POLLING, headers=headers) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == headers["Origin"]
        sid = json.loads((await answer.text())[1:])["sid"]
    asked = {**headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-custom, content-type"}
    async with http.options(f"{server.url}{POLLING}&sid={sid}", headers=asked) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == headers["Origin"]
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Headers"] == "x-custom, content-type"
    async with http.post(f"{server.url}{POLLING}&sid={sid}", data="40", headers=headers) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == headers["Origin"]
    async with http.get(f"{server.url}{POLLING}&sid=nobody", headers=headers) as answer:
        # Errors are for the page too.
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (400, headers["Origin"])


async def test_named_origins_only(stack: Stack, http: aiohttp.ClientSession) -> None:
    named = stack.serve(WS_CORS_ALLOWED_ORIGINS="https://dash.example.com")
    own = {"Origin": named.url}
    friend = {"Origin": "https://dash.example.com"}
    stranger = {"Origin": "https://evil.example.com"}
    async with http.get(named.url + POLLING, headers=friend) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://dash.example.com"
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Vary"] == "Origin"
    async with http.get(named.url + POLLING, headers=own) as answer:
        assert answer.status == 200
    async with http.get(named.url + POLLING, headers=stranger) as answer:
        assert answer.status == 403
        assert {name for name in answer.headers if name.startswith("Access-Control-")} == set()
    for path in (ENGINE, "/ws/events"):
        for headers in (own, friend, {}):
            async with http.ws_connect(named.url + path, headers=headers) as socket:
                await socket.receive()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(named.url + path, headers=stranger)
        assert refused.value.status == 403
