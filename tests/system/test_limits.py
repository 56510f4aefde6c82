"""The limits on connections and messages, against a real server: what a client is told, and that others notice nothing."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from events.http_server import UNCOUNTED
from events.tcp_door import NEW_PER_CLIENT
from tests.redis_server import RedisServer
from tests.system.small_bodies import MAX_BODY_BYTES
from tests.system.sockets import tcp
from tests.system.stack import DEADLINE_S, Server, Stack, await_condition

POLLING = "/socket.io/?EIO=4&transport=polling"
ENGINE = "/socket.io/?EIO=4&transport=websocket"
PLAIN = "/ws/events"

#: The largest message of a server that takes small ones only; and what is too large for a frame there.
MESSAGE_BYTES, FRAME_BYTES = 2_000, 70_000

#: A proxy on this machine, which is played by the tests.
PROXY = {"WS_PROXY_HEADERS": "1", "WS_TRUSTED_PROXIES": "127.0.0.1"}

#: Close codes of a WebSocket.
TOO_MANY, FULL = 4429, 4503


@contextlib.contextmanager
def behind_proxy(folder: Path, **variables: str) -> Iterator[Server]:
    """A server behind the proxy."""
    with Stack(folder, None, **PROXY, **variables) as stack:
        yield stack.serve()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with small limits."""
    with behind_proxy(
        tmp_path_factory.mktemp("limits"),
        WS_MAX_CONNECTIONS="6",
        WS_MAX_CONNECTIONS_PER_ADDRESS="2",
        WS_AUTH_TOKEN="right-right-right",
        WS_CLIENT_MESSAGES_PER_S="2",
        WS_PUBLISH_EVENTS_PER_S="1",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def hasty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that waits for a token for a moment only."""
    folder = tmp_path_factory.mktemp("hasty")
    with behind_proxy(folder, WS_AUTH_TOKEN="right-right-right", WS_AUTH_TIMEOUT_S="2") as started:
        yield started


def of(address: str) -> aiohttp.ClientSession:
    """Requests of a client at this address."""
    return aiohttp.ClientSession(headers={"X-Real-IP": address})


async def next_event(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    message: dict[str, Any] = await socket.receive_json(timeout=DEADLINE_S)
    return message


async def close_code(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Read to the end."""
    while not socket.closed:
        await socket.receive(timeout=DEADLINE_S)
    return socket.close_code


async def test_an_address_gets_so_many_connections_on_all_ways_together(server: Server) -> None:
    async with of("192.0.2.1") as http, of("192.0.2.2") as elsewhere:
        async with http.get(server.url + POLLING) as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        async with http.ws_connect(server.url + PLAIN) as socket:
            assert (await next_event(socket))["event"] == "connected"
            async with http.get(server.url + POLLING) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
                assert "WS_MAX_CONNECTIONS_PER_ADDRESS" in (await answer.json(content_type=None))["message"]
            for path in (ENGINE, PLAIN):
                async with http.ws_connect(server.url + path) as refused:
                    assert await close_code(refused) == TOO_MANY
            async with elsewhere.ws_connect(server.url + ENGINE) as welcome:
                assert (await welcome.receive_str()).startswith("0")
            # One place becomes free.
            async with http.post(f"{server.url}{POLLING}&sid={sid}", data="1") as answer:
                assert answer.status == 200
            async with http.ws_connect(server.url + ENGINE) as welcome:
                assert (await welcome.receive_str()).startswith("0")


async def test_the_server_takes_so_many_in_all(server: Server) -> None:
    sessions = [of(f"198.51.100.{number}") for number in range(7)]
    try:
        sockets = [await session.ws_connect(server.url + ENGINE) for session in sessions[:6]]
        for socket in sockets:
            assert (await socket.receive_str()).startswith("0")
        async with sessions[6].ws_connect(server.url + PLAIN) as refused:
            end = await refused.receive(timeout=DEADLINE_S)
            assert end.data == FULL
            assert "(WS_MAX_CONNECTIONS)" in (end.extra or "")
        async with sessions[6].get(server.url + POLLING) as answer:
            assert answer.status == 503
            assert "WS_MAX_CONNECTIONS" in (await answer.json(content_type=None))["message"]
        # The server is well: it is full, and says so only to those who come.
        assert server.get("/health")[0] == 200
    finally:
        for session in sessions:
            await session.close()


async def test_who_does_not_authenticate_is_told_and_put_out(hasty_server: Server) -> None:
    async with (
        of("192.0.2.20") as http,
        http.ws_connect(hasty_server.url + PLAIN) as lazy,
        http.ws_connect(hasty_server.url + PLAIN) as prompt,
    ):
        await prompt.send_json({"event": "authenticate", "data": {"token": "right-right-right"}})
        events = [await next_event(lazy) for _ in range(2)]
        assert [event["event"] for event in events] == ["connected", "error"]
        assert events[1]["data"]["code"] == "authentication_timeout"
        assert await close_code(lazy) == 1000
        await prompt.send_json({"event": "subscribe_all_bots", "data": {}})
        names = [(await next_event(prompt))["event"] for _ in range(3)]
        assert names == ["connected", "auth_response", "subscribed"]


async def test_the_time_to_authenticate_does_not_begin_again(hasty_server: Server) -> None:
    async with of("192.0.2.21") as http:
        async with http.ws_connect(hasty_server.url + ENGINE) as restless:
            with contextlib.suppress(ConnectionError):
                # Cut by its deadline of two seconds; it would go on for far longer.
                async with asyncio.timeout(DEADLINE_S):
                    while not restless.closed:
                        await restless.send_str("40")
                        await restless.receive(timeout=DEADLINE_S)
                        await restless.send_str("41")
                        await asyncio.sleep(0.6)
        async with http.ws_connect(hasty_server.url + ENGINE) as silent:
            assert await close_code(silent) == 1000


async def test_who_sends_too_much_is_told_and_then_cut(server: Server) -> None:
    async with of("192.0.2.30") as http:
        for path, hello, command in (
            (PLAIN, "", '{"event":"request_stats"}'),
            (ENGINE, '40{"token":"right-right-right"}', '42["request_stats"]'),
        ):
            async with http.ws_connect(server.url + path) as socket:
                if hello:
                    await socket.send_str(hello)
                for _ in range(30):
                    await socket.send_str(command)
                while "rate_limited" not in (told := await socket.receive_str(timeout=DEADLINE_S)):
                    continue
                assert "WS_CLIENT_MESSAGES_PER_S" in told
                for _ in range(60):
                    await socket.send_str(command)
                received = [told]
                while (message := await socket.receive(timeout=DEADLINE_S)).type is aiohttp.WSMsgType.TEXT:
                    received.append(message.data)
            assert sum("rate_limited" in text for text in received) <= 40, "cut off before all were answered"
    assert "client sends too many messages" in server.log


async def test_an_address_publishes_no_more_than_it_may(server: Server) -> None:
    event = {"type": "t", "execution_id": "e", "workflow_id": "w", "timestamp": "2026-01-24T10:00:00Z"}
    token = {"Authorization": "Bearer right-right-right"}
    async with of("192.0.2.40") as http, of("192.0.2.41") as elsewhere:
        async with http.post(f"{server.url}/api/events", json=[event] * 1_000, headers=token) as answer:
            assert answer.status == 202
        async with http.post(f"{server.url}/api/events", json=[event] * 100, headers=token) as answer:
            assert (answer.status, answer.reason) == (429, "Too Many Requests")
            assert 0 < int(answer.headers["Retry-After"]) <= 100
            assert "WS_PUBLISH_EVENTS_PER_S" in (await answer.json())["message"]
        async with elsewhere.post(f"{server.url}/api/events", json=event, headers=token) as answer:
            assert answer.status == 202


async def publish(http: aiohttp.ClientSession, server: Server) -> int:
    event = {"type": "t", "execution_id": "e", "workflow_id": "w", "timestamp": "2026-01-24T10:00:00Z"}
    async with http.post(f"{server.url}/api/events", json=event) as answer:
        return answer.status


async def test_an_address_gets_so_many_requests_worked_on_at_once(tmp_path: Path) -> None:
    with RedisServer() as redis, Stack(tmp_path, redis, **PROXY, WS_MAX_REQUESTS_PER_ADDRESS="1") as stack:
        server = stack.serve(wait=False)
        await asyncio.to_thread(server.await_log, "listening")
        async with of("192.0.2.70") as http, of("192.0.2.71") as elsewhere:
            assert await publish(http, server) == 202
            # Each is worked on until Redis is given up, which takes two seconds.
            redis.pause()
            statuses = await asyncio.gather(*(publish(http, server) for _ in range(4)), publish(elsewhere, server))
            assert (set(statuses[:4]), statuses[4]) == ({429, 503}, 503)
            redis.resume()


def threads(server: Server) -> int:
    """How many the server's process has."""
    return len(list(Path(f"/proc/{server.pid}/task").iterdir()))


async def log_in(server: Server, address: str) -> int:
    """The status of the answer to a wrong password."""
    token = "a" * 32
    cookies, form = {"csrftoken": token}, {"csrfmiddlewaretoken": token, "username": "nobody", "password": "wrong"}
    async with of(address) as http, http.post(f"{server.url}/admin/login/", data=form, cookies=cookies) as answer:
        return answer.status


async def test_logins_of_many_addresses_take_few_threads(tmp_path: Path) -> None:
    with Stack(tmp_path, None, **PROXY) as stack:
        assert stack.manage("migrate", "-v", "0").wait() == 0
        server = stack.serve()
        before = most = threads(server)
        asked = [asyncio.create_task(log_in(server, f"198.51.100.{last}")) for last in range(40)]
        while not all(task.done() for task in asked):
            most = max(most, threads(server))
            await asyncio.sleep(0.01)
        assert {task.result() for task in asked} <= {200, 429}
        # Some for each login that is let in, and for what else the server does meanwhile.
        assert most - before < 20


async def test_connections_over_which_nothing_comes_are_counted_too(tmp_path: Path) -> None:
    elsewhere = "127.0.0.2"
    with Stack(tmp_path, None, WS_MAX_CONNECTIONS="2") as stack:
        server = stack.serve()
        async with contextlib.AsyncExitStack() as silent:
            for _ in range(2 * 2):
                await silent.enter_async_context(tcp(server.port, elsewhere))
            async with tcp(server.port, elsewhere) as (reader, writer), asyncio.timeout(DEADLINE_S):
                writer.write(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert "WS_MAX_CONNECTIONS" in json.loads(answer.partition(b"\r\n\r\n")[2])["message"]
            # A health check of this machine learns that the process is well.
            assert server.get("/health/live")[0] == 200
        # They have left, and their places are free.
        await asyncio.to_thread(await_condition, lambda: counts_it(server, "connections"), lambda: "the refusal")


def counts_it(server: Server, rule: str) -> bool:
    status, answer = server.get("/metrics?format=prometheus")
    return status == 200 and f'rule="{rule}"' in answer.decode()


@pytest.fixture(scope="module")
def calm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that takes a client a second of each address, and three at once."""
    folder = tmp_path_factory.mktemp("calm")
    with behind_proxy(folder, WS_NEW_CONNECTIONS_PER_S="1", WS_MAX_CONNECTIONS_PER_ADDRESS="3") as started:
        yield started


async def connect_until_refused(http: aiohttp.ClientSession, address: str) -> str:
    """Connect and go, again and again. Returns why not any more."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with http.ws_connect(address) as socket:
                message = await socket.receive()
                if message.type is aiohttp.WSMsgType.CLOSE:
                    return f"{message.data} {message.extra}"


@pytest.mark.parametrize(("path", "address"), [(ENGINE, "192.0.2.50"), (PLAIN, "192.0.2.51")])
async def test_who_connects_too_fast_is_told_and_others_are_welcome(calm_server: Server, path: str, address: str) -> None:
    async with of(address) as http, of("192.0.2.59") as elsewhere:
        reason = await connect_until_refused(http, calm_server.url + path)
        assert reason.startswith(f"{TOO_MANY} ")
        assert "WS_NEW_CONNECTIONS_PER_S" in reason
        assert reason.endswith(" s.")
        async with elsewhere.get(calm_server.url + POLLING) as answer:
            assert answer.status == 200
        # After a while it is welcome again, and is not the longer refused the more often it asks.
        async with asyncio.timeout(DEADLINE_S):
            while True:
                async with http.get(calm_server.url + POLLING) as answer:
                    if answer.status == 200:
                        break
                    assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
                    assert "WS_NEW_CONNECTIONS_PER_S" in (await answer.json(content_type=None))["message"]
                await asyncio.sleep(0.1)
    await asyncio.to_thread(await_condition, lambda: counts_it(calm_server, "new_connections"), lambda: "the refusal")


@pytest.fixture(scope="module")
def fast_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that takes more connections of an address than a test can make, and small messages only: what cannot be read has to
    come at some rate, on busy machines too."""
    small = {"WS_MAX_PAYLOAD_BYTES": str(MESSAGE_BYTES)}
    with behind_proxy(tmp_path_factory.mktemp("fast"), WS_NEW_CONNECTIONS_PER_S="2000", **small) as started:
        yield started


async def answer_to(http: aiohttp.ClientSession, server: Server, path: str, *messages: str | bytes) -> int:
    """Send this on a new connection. Returns the close code, or the status."""
    if path == POLLING:
        async with http.get(server.url + path) as answer:
            if answer.status != 200:
                return answer.status
            sid = json.loads((await answer.text())[1:])["sid"]
        async with http.post(f"{server.url}{path}&sid={sid}", data=messages[0]) as answer:
            return answer.status
    async with http.ws_connect(server.url + path) as socket:
        for message in messages:
            # The server may have cut it.
            with contextlib.suppress(ConnectionError):
                await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
        return await close_code(socket) or 0


@pytest.mark.parametrize("size", [MESSAGE_BYTES, FRAME_BYTES])
@pytest.mark.parametrize("path", [ENGINE, PLAIN])
async def test_who_sends_too_large_a_message_is_told_by_which_setting(fast_server: Server, path: str, size: int) -> None:
    async with of("192.0.2.80") as http, http.ws_connect(fast_server.url + path) as socket:
        await socket.send_str("4" + "x" * size)
        while (message := await socket.receive(timeout=DEADLINE_S)).type is aiohttp.WSMsgType.TEXT:
            continue
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    assert "(WS_MAX_PAYLOAD_BYTES)" in (message.extra or "")


@pytest.mark.parametrize(
    ("number", "path", "messages"),
    [
        (60, ENGINE, ["9"]),
        (61, ENGINE, ["40", "42[not json"]),
        (62, ENGINE, ["4" + "x" * MESSAGE_BYTES]),
        (63, ENGINE, ["4" + "x" * FRAME_BYTES]),
        (64, PLAIN, ["x" * (MESSAGE_BYTES + 1)]),
        (65, PLAIN, [b"x" * FRAME_BYTES]),
        (66, POLLING, ["9" * 10]),
    ],
)
async def test_who_sends_what_cannot_be_read_may_connect_less_often(
    fast_server: Server, number: int, path: str, messages: list[str | bytes]
) -> None:
    async with of(f"192.0.2.{number}") as http, of("192.0.2.69") as elsewhere, asyncio.timeout(DEADLINE_S):
        refused: set[int] = set()
        while not refused & {TOO_MANY, 429}:
            refused |= set(await asyncio.gather(*(answer_to(http, fast_server, path, *messages) for _ in range(10))))
        async with elsewhere.get(fast_server.url + POLLING) as answer:
            assert answer.status == 200


async def come_and_go(port: int, address: str) -> bytes:
    """What a client is told that says nothing and does not stay."""
    async with tcp(port, address) as (reader, _):
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(0.1):
                return await reader.read()
    return b""


async def test_connections_that_come_and_go_over_which_nothing_comes_are_turned_away(calm_server: Server) -> None:
    told: list[bytes] = []
    async with asyncio.timeout(DEADLINE_S):
        # Several at a time, as one after the other may not be too many on a busy machine. Those may still be there when it
        # comes to the next.
        while not (answers := [answer for answer in told if b"WS_NEW_CONNECTIONS_PER_S" in answer]):
            told = await asyncio.gather(*(come_and_go(calm_server.port, "127.0.0.3") for _ in range(5)))
    assert answers[0].startswith(b"HTTP/1.1 429 ")


async def first_line(port: int, address: str) -> bytes:
    """Of the answer to a client that connects; empty when it was not heard."""
    async with tcp(port, address) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(f"GET {POLLING} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return await reader.readline()
    return b""


async def test_of_clients_that_come_much_too_fast_not_all_are_heard(calm_server: Server) -> None:
    answers: list[bytes] = []
    async with asyncio.timeout(DEADLINE_S):
        while b"" not in answers:
            answers.append(await first_line(calm_server.port, "127.0.0.6"))
    assert answers[0].startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 429 " in {answer[:13] for answer in answers}
    # It is clients that came too fast: so many TCP connections may come at once.
    assert len(answers) < 3 * NEW_PER_CLIENT
    assert (await first_line(calm_server.port, "127.0.0.7")).startswith(b"HTTP/1.1 200 ")


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Stack(tmp_path_factory.mktemp("small"), None, DJANGO_SETTINGS_MODULE="tests.system.small_bodies") as stack:
        yield stack.serve()


async def send_body(
    port: int, address: str, stack: contextlib.AsyncExitStack, size: int = MAX_BODY_BYTES, left_out: int = 0
) -> asyncio.StreamReader:
    """Send a request with a body, all but so many bytes."""
    reader, writer = await stack.enter_async_context(tcp(port, address))
    writer.write(b"POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
    writer.write(b"x" * (size - left_out))
    await writer.drain()
    return reader


async def answer_to_body(port: int, address: str, size: int = MAX_BODY_BYTES) -> bytes:
    async with contextlib.AsyncExitStack() as stack:
        return await (await send_body(port, address, stack, size)).readuntil(b"}")


async def fill_with_bodies(port: int, address: str, stack: contextlib.AsyncExitStack, size: int = MAX_BODY_BYTES) -> bytes:
    """Have bodies arrive that do not end, until another one is refused. Returns what that one is told."""
    # One that arrives may itself be refused, where what is asked with takes its room: so more are sent until there is none.
    while not (answer := await answer_to_body(port, address, size)).startswith(b"HTTP/1.1 503 "):
        await send_body(port, address, stack, size, left_out=1)
    return answer


async def test_an_address_cannot_fill_the_disk_with_bodies(small_server: Server) -> None:
    port = small_server.port
    async with contextlib.AsyncExitStack() as arriving, asyncio.timeout(DEADLINE_S):
        answer = await fill_with_bodies(port, "127.0.0.4", arriving)
        assert b"retry-after: 1" in answer.lower()
        assert (await answer_to_body(port, "127.0.0.5")).startswith(b"HTTP/1.1 415 ")
    # They are gone, and there is room again.
    async with asyncio.timeout(DEADLINE_S):
        while (await answer_to_body(port, "127.0.0.4")).startswith(b"HTTP/1.1 503 "):
            continue
    await asyncio.to_thread(await_condition, lambda: counts_it(small_server, "bodies"), lambda: "the refusal")


async def test_small_bodies_are_taken_where_large_ones_fill_all_the_room(small_server: Server) -> None:
    port, address = small_server.port, "127.0.0.6"
    async with contextlib.AsyncExitStack() as arriving, asyncio.timeout(DEADLINE_S):
        for size in (MAX_BODY_BYTES, UNCOUNTED + 30_000, UNCOUNTED + 1_000):
            await fill_with_bodies(port, address, arriving, size)
        assert (await answer_to_body(port, address, UNCOUNTED)).startswith(b"HTTP/1.1 415 ")
