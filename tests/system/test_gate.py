"""Who is let in by a real server, on every way in."""

import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.system.stack import Server, Stack

POLLING = "/socket.io/?EIO=4&transport=polling"
SOCKETS = ("/socket.io/?EIO=4&transport=websocket", "/ws/events")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Stack(tmp_path_factory.mktemp("gate"), ALLOWED_HOSTS="ws.example.com", WS_CORS_ALLOWED_ORIGINS=DASH) as stack:
        yield stack.serve()


DASH = "https://dash.example.com"

OWN = {"Host": "ws.example.com:8001", "Origin": "https://ws.example.com:8001"}
FRIEND = {"Host": "ws.example.com", "Origin": DASH}
PROGRAM = {"Host": "WS.example.com."}

#: Two names that a browser takes for one site; what the page wants is to read what we answer.
REBOUND = {"Host": "evil.example:8001", "Origin": "http://evil.example:8001"}
STRANGER = {"Host": "ws.example.com", "Origin": "https://evil.example"}
SANDBOXED = {"Host": "ws.example.com", "Origin": "null"}
OTHER_PORT = {"Host": "ws.example.com:8001", "Origin": "https://ws.example.com:3000"}


@pytest.mark.parametrize("headers", [OWN, FRIEND, PROGRAM, {}])
async def test_these_are_let_in(server: Server, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.get(server.url + POLLING) as answer:
            assert answer.status == 200
        for path in SOCKETS:
            async with http.ws_connect(server.url + path) as socket:
                assert (await socket.receive()).type is aiohttp.WSMsgType.TEXT


@pytest.mark.parametrize(("headers", "status"), [(REBOUND, 400), (STRANGER, 403), (SANDBOXED, 403), (OTHER_PORT, 403)])
async def test_these_are_not(server: Server, headers: dict[str, str], status: int) -> None:
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.get(server.url + POLLING) as answer:
            assert answer.status == status
            body = await answer.json(content_type=None)
        assert body["code"] == 4
        assert "not allowed" in body["message"]
        for path in SOCKETS:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(server.url + path)
            assert refused.value.status == 403


async def test_the_loop_of_a_server_asks_clients_last(server: Server) -> None:
    """`events.clients_last`: one epoll that watches another one, which has clients and the port to which they come."""
    process = Path(f"/proc/{server.pid}")

    def watched() -> dict[str, list[str]]:
        links = [link for link in (process / "fd").iterdir() if str(link.readlink()) == "anon_inode:[eventpoll]"]
        return {link.name: re.findall(r"tfd:\s*(\d+)", (process / "fdinfo" / link.name).read_text()) for link in links}

    async with aiohttp.ClientSession() as http, http.ws_connect(server.url + SOCKETS[0]) as socket:
        await socket.receive()
        epolls = watched()
        [clients] = [epolls[target] for targets in epolls.values() for target in targets if target in epolls]
        assert len(clients) == 2, epolls
