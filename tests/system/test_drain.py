"""A server process that is asked to end lets its clients go one after the other, and nothing is lost for those that resume."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import InvalidStatus

from events.limits.pace import SHARE
from tests.redis_server import RedisServer
from tests.system.clients import PlainClient, PythonClient, until
from tests.system.conftest import Connect
from tests.system.event_data import numbers, run_of
from tests.system.stack import Server, Stack

#: Enough that the window is not cut short: 20 go in a second at least.
CLIENTS = 40

WINDOW_S = 1.4


async def crowd(server: Server) -> list[PlainClient]:
    return [await PlainClient().connect(server.ws_url) for _ in range(CLIENTS)]


async def leave(clients: list[PlainClient]) -> None:
    for client in clients:
        await client.close()


async def resumed(client: PlainClient | PythonClient, known: dict[str, Any]) -> list[int]:
    """What a new connection gets after the last event that the old one had."""
    epoch, offset = known["event_id"].partition("-")[0], known["offsets"]["workflow"]
    await client.emit("subscribe_workflow", {"workflow_id": "drain", "epoch": epoch, "offset": offset})
    return numbers((await client.wait("recent_events"))["events"])


async def test_clients_go_one_after_the_other_and_lose_nothing(
    new_stack: Callable[..., Stack], redis_server: RedisServer, connect: Connect
) -> None:
    with new_stack(redis_server, WS_DRAIN_S=str(WINDOW_S)) as stack:
        stack.runbus()
        ending, staying = stack.serve(wait=False), stack.serve()
        ending.await_health()
        clients = await crowd(ending)
        polling = await connect("python-polling", ending)
        for client in (clients[0], polling):
            await client.emit("subscribe_workflow", {"workflow_id": "drain"})
            await client.wait("subscribed")
        staying.publish(*run_of(3, "drain"))
        for client in (clients[0], polling):
            await client.wait("workflow_event", 3)

        ending.signal(signal.SIGTERM)
        notices = [await client.wait("server_draining") for client in clients]
        staying.publish(*run_of(3, "drain", start=3))
        await check_refusals(ending)
        for client in (*clients, polling):
            await client.wait_closed()
        assert {client.code for client in clients} == {1012}
        assert await asyncio.to_thread(ending.wait) == 0
        staying.publish(*run_of(3, "drain", start=6))

        delays = [notice["reconnect_in_ms"] for notice in notices]
        assert len(set(delays)) == CLIENTS
        assert 0 < min(delays) < max(delays) == notices[0]["window_ms"] == round(WINDOW_S / SHARE * 1000)
        for old, new in ((clients[0], await connect("plain", staying)), (polling, await connect("python-polling", staying))):
            had = old.all("workflow_event")
            assert numbers(had) + await resumed(new, had[-1]) == list(range(9))
        await leave(clients)
        # Nobody is left on it: it has nothing to wait for.
        assert staying.stop() == 0


async def check_refusals(server: Server) -> None:
    """While it drains, it says so, takes nobody in, and answers those that are there."""
    status, body = server.get("/health/ready")
    assert status == 503
    assert b"draining" in body
    assert server.get("/health/live")[0] == 200
    assert server.get("/socket.io/?EIO=4&transport=polling")[0] == 503
    for path in ("/ws/events", "/socket.io/?EIO=4&transport=websocket"):
        with pytest.raises(InvalidStatus, match="403"):
            await websocket(server.ws_url + path)


async def test_a_second_signal_ends_it_at_once(new_stack: Callable[..., Stack]) -> None:
    with new_stack(WS_DRAIN_S="600") as stack:
        server = stack.serve()
        clients = await crowd(server)
        server.signal(signal.SIGTERM)
        await until(lambda: "drain_started" in server.log, lambda: server.log)
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
        assert "drain_ended" not in server.log
        await leave(clients)
