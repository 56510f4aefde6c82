"""Several server processes on one port: `serve --workers`."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import orjson
import pytest

from events.limits.pace import SHARE
from events.shared_port import CannotShare, shared_listeners
from tests.redis_server import RedisServer, free_port
from tests.system.clients import PlainClient, until
from tests.system.conftest import Connect
from tests.system.event_data import assert_delivered, run_of
from tests.system.stack import Server, Stack, await_condition

WORKERS = 3

#: Enough on one worker that its window is not cut short: 20 go in a second at least.
CROWD = 80


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with RedisServer() as redis, Stack(tmp_path_factory.mktemp("workers"), redis) as running:
        running.runbus()
        yield running


@pytest.fixture(scope="module")
def server(stack: Stack) -> Server:
    return start(stack, WORKERS)


def start(stack: Stack, count: int) -> Server:
    """A server all of whose workers listen: a request that comes earlier waits for them."""
    server = stack.serve("--workers", str(count), wait=False)
    await_condition(lambda: server.log.count("listening") == count, lambda: server.log)
    server.await_health()
    return server


def polled(port: int, source: str, sid: str = "") -> tuple[int, bytes]:
    """The answer to a long-polling request from an address of this machine: the handshake, or what is asked of a session."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    try:
        connection.request(
            "POST" if sid else "GET", f"/socket.io/?EIO=4&transport=polling{f'&sid={sid}' if sid else ''}", b"40"
        )
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def handshake(port: int, source: str) -> str:
    status, body = polled(port, source)
    assert status == 200, body
    return str(orjson.loads(body[1:])["sid"])


def workers(server: Server) -> dict[int, int]:
    """Process ids of the workers that were started last, by number."""
    found = re.findall(r"worker_started.*?worker[=\": ]+(\d+).*?worker_pid[=\": ]+(\d+)", server.log)
    return {int(number): int(pid) for number, pid in found}


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_every_kind_of_client_is_served(server: Server, connect: Connect) -> None:
    for kind in ("node-default", "python-polling", "plain"):
        client = await connect(kind, server)
        await client.emit("subscribe_workflow", {"workflow_id": kind})
        await client.wait("subscribed")
        run = run_of(20, kind)
        assert server.publish(*run)[0] == 202
        await client.wait("workflow_event", 20)
        assert_delivered(client.all("workflow_event"), run, "workflow")


def test_an_address_always_reaches_the_same_worker_and_addresses_spread(server: Server) -> None:
    """A worker knows its own sessions only."""
    sources = [f"127.0.0.{number}" for number in range(1, 17)]
    sessions = {source: handshake(server.port, source) for source in sources}
    for source, sid in sessions.items():
        assert polled(server.port, source, sid) == (200, b"ok")
    elsewhere = sessions["127.0.0.1"]
    assert {polled(server.port, source, elsewhere)[0] for source in sources[1:]} == {200, 400}


async def test_a_killed_worker_is_started_again_and_the_others_go_on(server: Server, connect: Connect) -> None:
    assert len(workers(server)) == WORKERS
    sids = {source: handshake(server.port, source) for source in (f"127.0.0.{number}" for number in range(1, 17))}
    before = workers(server)
    os.kill(before[0], signal.SIGKILL)
    await until(lambda: workers(server)[0] != before[0], lambda: server.log)
    await until(lambda: server.log.count("listening") == WORKERS + 1, lambda: server.log)
    answers = {polled(server.port, source, sid)[0] for source, sid in sids.items()}
    assert answers == {200, 400}
    assert {number: pid for number, pid in workers(server).items() if number} == {
        number: pid for number, pid in before.items() if number
    }
    client = await connect("plain", server)
    await client.wait("connected")


async def test_workers_end_with_their_parent(stack: Stack) -> None:
    server = start(stack, 2)
    pids = list(workers(server).values())
    assert len(pids) == 2
    server.signal(signal.SIGTERM)
    assert server.wait() == 0, server.log
    assert not any(alive(pid) for pid in pids)


async def test_a_parent_waits_until_its_workers_have_let_their_clients_go(new_stack: Callable[..., Stack]) -> None:
    with RedisServer() as redis, new_stack(redis, WS_DRAIN_S="2") as stack:
        stack.runbus()
        server = start(stack, 2)
        clients = [await PlainClient().connect(server.ws_url) for _ in range(CROWD)]
        server.signal(signal.SIGTERM)
        notices = [await client.wait("server_draining") for client in clients]
        for client in clients:
            await client.wait_closed()
        assert await asyncio.to_thread(server.wait) == 0
        assert {client.code for client in clients} == {1012}
        assert max(notice["reconnect_in_ms"] for notice in notices) == round(2_000 / SHARE)
        assert server.log.count("drain_ended") == 2
        for client in clients:
            await client.close()


def test_a_port_that_somebody_else_shares_is_taken() -> None:
    """Without a look, two servers would share it, and each get some of the other's clients."""
    port = free_port()
    listeners = shared_listeners("127.0.0.1", port, 2, 16)
    try:
        with pytest.raises(CannotShare, match=f"127.0.0.1:{port}: Address already in use.*WS_PORT"):
            shared_listeners("127.0.0.1", port, 2, 16)
    finally:
        for listener in listeners:
            listener.close()


def test_systems_that_cannot_share_are_told_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(CannotShare, match=r"serve --port 8001.*deploy/nginx\.conf"):
        shared_listeners("127.0.0.1", 0, 2, 16)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_addresses_choose_a_socket(host: str) -> None:
    """Of IPv4 and of IPv6, and of IPv4 on a socket for both."""
    listeners = shared_listeners(host, 0, 4, 16)
    try:
        target = "::1" if host == "::1" else "127.0.0.1"
        sources = ["::1"] if target == "::1" else [f"127.0.0.{number}" for number in range(1, 33)]
        found = {source: {_chosen(listeners, target, source) for _ in range(3)} for source in sources}
        assert all(len(chosen) == 1 for chosen in found.values())
        if len(sources) > 1:
            assert set.union(*found.values()) == {0, 1, 2, 3}
    finally:
        for listener in listeners:
            listener.close()


def _chosen(listeners: list[socket.socket], target: str, source: str) -> int:
    port = listeners[0].getsockname()[1]
    with socket.create_connection((target, port), source_address=(source, 0)):
        accepted = [number for number, listener in enumerate(listeners) if _accept(listener)]
    (number,) = accepted
    return number


def _accept(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


async def test_no_worker_outlives_a_parent_that_was_killed(server: Server) -> None:
    """The last one here: it ends the server of this module."""
    pids = list(workers(server).values())
    assert all(alive(pid) for pid in pids)
    server.signal(signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    await until(lambda: not any(alive(pid) for pid in pids), lambda: f"the end of the workers: {server.log}")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port))
