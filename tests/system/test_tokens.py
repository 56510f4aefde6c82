"""Tokens on real servers: two processes on one Redis and one database."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import jwt
import pytest
import requests

from tests.redis_server import RedisServer
from tests.system.clients import until
from tests.system.conftest import Connect
from tests.system.event_data import assert_delivered, run_of
from tests.system.sockets import TEXT, raw_websocket
from tests.system.stack import Server, Stack, await_condition, request

SHARED: Final = "shared-secret-0123456789abcdef"
JWT_SECRET: Final = "login-secret-" + "x" * 32

KINDS: Final = ["node-default", "python-polling", "plain"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    variables = {"WS_AUTH_TOKEN": SHARED, "WS_JWT_SECRET": JWT_SECRET, "WS_JWT_AUDIENCE": "events", "LOG_LEVEL": "DEBUG"}
    with RedisServer() as redis, Stack(tmp_path_factory.mktemp("tokens"), redis, **variables) as running:
        assert running.manage("bootstrap").wait() == 0
        running.runbus()
        yield running


@pytest.fixture(scope="module")
def servers(stack: Stack) -> list[Server]:
    started = [stack.serve(wait=False), stack.serve(wait=False)]
    for server in started:
        server.await_health()
    return started


@pytest.fixture(scope="module")
def board(stack: Stack) -> dict[str, Any]:
    """A dashboard's token."""
    return create(stack, "workflow:arb_*")


@pytest.fixture(scope="module")
def executor(stack: Stack) -> dict[str, Any]:
    """A token that publishes, and reads one bot."""
    return create(stack, "bot:b1", "publish")


def create(stack: Stack, *scopes: str) -> dict[str, Any]:
    argv = [word for scope in scopes for word in ("--scope", scope)]
    program = stack.manage("token", "create", "a token", *argv, "--json", LOG_LEVEL="ERROR")
    assert program.wait() == 0, program.log
    made: dict[str, Any] = json.loads(program.log)
    return made


def login(seconds: float, scope: str) -> str:
    return jwt.encode({"sub": "ann", "aud": "events", "exp": time.time() + seconds, "scope": scope}, JWT_SECRET)


def get(server: Server, path: str, token: str) -> tuple[int, Any]:
    status, body = request(server.url + path, headers={"Authorization": f"Bearer {token}"})
    return status, json.loads(body)


async def test_a_token_that_is_revoked_ends_in_every_process(
    stack: Stack, servers: list[Server], board: dict[str, Any], connect: Connect
) -> None:
    made = board
    clients = [await connect(kind, server) for kind, server in zip(KINDS, [servers[0], servers[1], servers[1]], strict=True)]
    for client in clients:
        assert (await client.call("authenticate", {"token": made["token"]}))["success"]
        assert "needed" not in await client.call("subscribe_workflow", {"workflow_id": "arb_1"})
        assert (await client.call("subscribe_workflow", {"workflow_id": "other"}))["needed"] == "workflow:other"
    assert get(servers[0], "/metrics", made["token"])[0] == 403
    assert stack.manage("token", "revoke", made["id"]).wait() == 0
    for client in clients:
        await until(lambda client=client: client.all("subscription_revoked"), "the end of the subscription")  # type: ignore[misc]
        assert [error["code"] for error in client.all("error")] == ["insufficient_scope", "token_revoked"]
        assert client.all("subscription_revoked") == [{"type": "workflow", "workflow_id": "arb_1", "code": "token_revoked"}]
        assert not client.closed
        answer = await client.call("authenticate", {"token": made["token"]})
        assert answer.get("code") == "token_revoked", answer
    assert get(servers[0], "/metrics", made["token"])[0] == 401


def test_tokens_of_requests_are_counted_by_what_became_of_them(servers: list[Server]) -> None:
    assert get(servers[0], "/metrics", "not-a-token")[0] == 401
    bearer = {"Authorization": f"Bearer {login(60, 'metrics')}"}

    def results() -> set[str]:
        _, text = request(f"{servers[0].url}/metrics?format=prometheus", headers=bearer)
        return set(re.findall(r'^wsserver_http_authentications_total\{.*result="(\w+)".*\} [1-9]', text.decode(), re.MULTILINE))

    await_condition(lambda: {"invalid_token", "valid"} <= results(), lambda: str(results()))


def press(server: Server, sid: str, action: str) -> str:
    """What the admin's page says after an operator has done something to a client."""
    with requests.Session() as browser:
        for address, fields in (
            ("/admin/login/", {"username": "admin", "password": "admin"}),
            (f"/admin/monitoring/liveclient/{sid.replace('_', '_5F')}/{action}/", {}),
        ):
            browser.get(server.url + address)
            token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            answer = browser.post(server.url + address, fields | token)
    return answer.text


async def test_an_operator_revokes_the_token_of_a_client(stack: Stack, servers: list[Server], connect: Connect) -> None:
    made = create(stack, "workflow:arb_*")
    shares, other = [await connect("plain", server) for server in servers]
    for client in (shares, other):
        await client.call("authenticate", {"token": made["token"]})
        await client.call("subscribe_workflow", {"workflow_id": "arb_1"})
    configured = await connect("plain", servers[1])
    await configured.call("authenticate", {"token": SHARED})
    assert "The token was revoked." in await asyncio.to_thread(press, servers[0], other.sid, "revoke_token")
    for client in (shares, other):
        await until(lambda client=client: client.all("subscription_revoked"), "the end of the subscription")  # type: ignore[misc]
    said = await asyncio.to_thread(press, servers[0], configured.sid, "revoke_token")
    assert "Nothing was done. This token is one of WS_AUTH_TOKEN" in said
    assert not configured.all("error")


async def test_a_login_is_renewed_in_time_and_misses_nothing_or_ends(servers: list[Server], connect: Connect) -> None:
    renews = await connect("node-default", servers[0], auth={"token": login(600, "workflow:renewed")})
    ends = await connect("python-websocket", servers[1], auth={"token": login(600, "workflow:renewed")})
    run = run_of(60, "renewed")
    for client in (renews, ends):
        await client.wait("auth_response")
        assert client.all("auth_response")[0]["expires_at"]
        await client.call("subscribe_workflow", {"workflow_id": "renewed"})
    # The leeway of 10 s is over in 2 s.
    short = login(-8, "workflow:renewed")
    for client in (renews, ends):
        assert (await client.call("authenticate", {"token": short}))["success"]
    for part in range(6):
        servers[0].publish(*run[part * 10 : part * 10 + 10], token=SHARED)
        if part == 2:
            assert (await renews.call("authenticate", {"token": login(600, "workflow:renewed")}))["success"]
        if part == 4:
            await ends.wait("subscription_revoked")
    await renews.wait("workflow_event", 60)
    assert_delivered(renews.all("workflow_event"), run, "workflow")
    assert ends.all("error")[0]["code"] == "token_expired"
    assert len(ends.all("workflow_event")) < 60
    assert not renews.all("error")


def test_executions_are_for_those_who_may_read_their_topics(servers: list[Server], executor: dict[str, Any]) -> None:
    run = run_of(3, "w1")
    status, _ = servers[0].publish(*run, {**run[0], "bot_id": "b1", "execution_id": "of b1"}, token=executor["token"])
    assert status == 202
    answered = [
        get(servers[1], f"/api/executions{query}", executor["token"]) for query in ("?bot=b1", "?bot=b2", "?workflow=w1", "")
    ]
    assert [status for status, _ in answered] == [200, 403, 403, 403]
    assert [body["needed"] for _, body in answered[1:]] == ["bot:b2", "workflow:w1", "all"]


#: What a client with a mistake sends: its token is in a packet that cannot be read.
BROKEN: Final = (
    ['40{"token":"%s"'],
    ['40"%s"'],
    ["40", "42[\"authenticate\",{'token':'%s'}]"],
    ["40", "%s"],
    ["40/%s", "42/%s,[]"],
)


async def send_broken(server: Server, packets: list[str]) -> None:
    async with raw_websocket(server, "/socket.io/?EIO=4&transport=websocket") as socket:
        for packet in packets:
            socket.write(TEXT, packet.encode())
        await socket.read_to_end()


def test_no_secret_is_in_any_log(servers: list[Server], board: dict[str, Any], executor: dict[str, Any]) -> None:
    """The tests above gave every kind of token in every way; wrong ones and odd places follow."""
    signed = login(60, "metrics")
    for token in (executor["token"], board["token"], signed, SHARED, "nonsense-token"):
        get(servers[0], "/metrics", token)
        get(servers[0], f"/metrics?token={quote(token)}", token)
        request(f"{servers[0].url}/socket.io/?EIO=4&transport=polling&token={quote(token)}")
        for packets in BROKEN:
            asyncio.run(send_broken(servers[0], [packet.replace("%s", token) for packet in packets]))
    servers[0].await_log("protocol_error")
    logs = "".join(server.log for server in servers)
    assert board["id"] in logs  # Ids are there to be found.
    parts = [made["token"].rpartition(made["id"])[2][:-1] for made in (board, executor)]
    secrets = [SHARED, JWT_SECRET, signed, signed.rpartition(".")[2], "nonsense-token", *parts]
    assert [secret for secret in secrets if secret[:12] in logs] == []
