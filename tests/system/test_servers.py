"""Each way to start a server serves everything, and every process starts and ends as an operator expects."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.redis_server import RedisServer, free_port
from tests.system.clients import NodeClient, PythonClient, until
from tests.system.conftest import Connect
from tests.system.event_data import assert_contiguous, assert_delivered, event, run_of
from tests.system.stack import Program, Server, Stack, await_condition

NewStack = Callable[..., Stack]

STARTERS = ["serve", "daphne", "runserver", "uvicorn"]


# -- four ways to start ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("embedded")) as running:
        yield running


@pytest.fixture(scope="module", params=STARTERS)
def server(request: pytest.FixtureRequest, embedded: Stack) -> Server:
    start: Callable[[], Server] = getattr(embedded, request.param)
    return start()


def test_pages(server: Server) -> None:
    health = server.json("/health")
    assert health["status"] == "healthy"
    assert health["infrastructure"]["components"] == {"state": "healthy", "events": "healthy", "emergency": "normal"}
    assert server.json("/status")["server"] == "workflow-websocket-server"
    assert server.json("/metrics")["connections"]["current"] == 0
    for path, text in [("/", b"socket.io"), ("/admin/login/", b"csrfmiddlewaretoken")]:
        status, body = server.get(path)
        assert status == 200, path
        assert text in body
    status, script = server.get("/static/vendor/socket.io-client/socket.io.min.js")
    assert status == 200
    assert len(script) > 10_000
    assert server.get("/nothing")[0] == 404


@pytest.mark.parametrize("kind", ["python-polling", "python-websocket", "node-default", "plain"])
async def test_events(server: Server, connect: Connect, kind: str) -> None:
    name = f"{kind}-{server.port}"
    client = await connect(kind, server)
    await client.emit("subscribe_workflow", {"workflow_id": name})
    await client.wait("subscribed")
    run = run_of(50, name)
    status, answer = server.publish(*run)
    assert (status, answer["accepted"], len(set(answer["ids"]))) == (202, 50, 50)
    await client.wait("workflow_event", 50)
    assert_delivered(client.all("workflow_event"), run, "workflow")


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", ["embedded", "redis"])
async def test_serve_ends_and_takes_its_clients_along(
    new_stack: NewStack, redis_server: RedisServer, connect: Connect, mode: str, number: signal.Signals
) -> None:
    # A heartbeat, which would end a poll as well, comes long after the deadline.
    with new_stack(redis_server if mode == "redis" else None, WS_PING_INTERVAL_MS="300000") as stack:
        if mode == "redis":
            stack.runbus()
        server = stack.serve()
        kinds = ["node-websocket", "node-polling", "python-websocket", "python-polling", "plain"]
        clients = [await connect(kind, server, **_once(kind)) for kind in kinds]
        for client in clients:
            await client.emit("subscribe_workflow", {"workflow_id": "w"})
            await client.wait("subscribed")
        server.signal(number)
        assert await asyncio.to_thread(server.wait) == 0, server.log
        for kind, client in zip(kinds, clients, strict=True):
            await until(lambda client=client: client.closed, f"the end of {kind}")  # type: ignore[misc]
        assert clients[0].closed == clients[1].closed == "transport close"
        assert clients[4].code == 1000


def _once(kind: str) -> dict[str, Any]:
    return {"reconnection": False} if kind.startswith("node") else {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_runbus_ends(new_stack: NewStack, redis_server: RedisServer, number: signal.Signals) -> None:
    with new_stack(redis_server) as stack:
        relay = stack.runbus()
        relay.await_log("relay_leads")
        relay.signal(number)
        assert relay.wait() == 0, relay.log
        # It gave the lease back, so nobody has to wait for that to run out.
        assert stack.runbus("--check").wait() == 1


# -- starting that fails -----------------------------------------------------------------------------------------------


def test_a_taken_port(new_stack: NewStack) -> None:
    with new_stack() as stack, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = stack.serve(port=port, wait=False)
        assert server.wait() == 1
        [line] = server.log.splitlines()
        assert line.startswith(f"Cannot listen on 127.0.0.1:{port}: ")
        assert "WS_PORT" in line


@pytest.mark.parametrize("flags", [[], ["--check"], ["--burst"]])
def test_runbus_needs_redis(new_stack: NewStack, flags: list[str]) -> None:
    with new_stack() as stack:
        relay = stack.runbus(*flags)
        assert relay.wait() == 1
        [line] = relay.log.splitlines()
        assert "REDIS_URL" in line


@pytest.mark.parametrize("starter", ["serve", "runbus", "daphne", "uvicorn"])
def test_production_without_its_variables(new_stack: NewStack, starter: str) -> None:
    """One line for each thing that is missing, with the variable and the mend."""
    with new_stack(ENV="production") as stack:
        program: Program
        match starter:
            case "serve":
                program = stack.serve(wait=False)
            case "runbus":
                # With a Redis that nobody runs: it is not asked before the configuration is right.
                program = stack.runbus(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
            case "daphne":
                program = stack.daphne(wait=False)
            case _:
                program = stack.uvicorn(wait=False)
        assert program.wait() != 0
        lines = program.log.splitlines()
        missing = {"events.E001": "SECRET_KEY", "events.E004": "ALLOWED_HOSTS"}
        if starter != "runbus":
            missing["events.E002"] = "REDIS_URL"
        for code, variable in missing.items():
            [line] = [line for line in lines if f"{code}:" in line or f"({code})" in line]
            assert variable in line
        assert len([line for line in lines if "events.E" in line]) == len(missing)


def test_a_setting_that_makes_no_sense(new_stack: NewStack) -> None:
    with new_stack(WS_PING_TIMEOUT_MS="soon") as stack:
        for program in (stack.serve(wait=False), stack.manage("check")):
            assert program.wait() == 1
            [line] = program.log.splitlines()
            assert "WS_PING_TIMEOUT_MS" in line


# -- the relay ---------------------------------------------------------------------------------------------------------


def test_check_and_burst(new_stack: NewStack, redis_server: RedisServer) -> None:
    redis_server.command("DEL", "workflow_events")
    with new_stack(redis_server) as stack:
        check = stack.runbus("--check")
        assert check.wait() == 1
        [line] = check.log.splitlines()
        assert "No relay leads" in line
        stack.add_to_stream(*run_of(5, "burst"), {"type": "broken"})
        burst = stack.runbus("--burst")
        assert burst.wait() == 0, burst.log
        assert "5 events relayed, 1 rejected." in burst.log
        again = stack.runbus("--burst")
        assert again.wait() == 0
        assert "0 events relayed, 0 rejected." in again.log
        relay = stack.runbus()
        relay.await_log("relay_leads")
        check = stack.runbus("--check")
        assert check.wait() == 0
        assert check.log.strip().endswith("leads.")
        assert redis_server.command("XLEN", "workflow_events:rejected") == 1


async def test_a_standby_takes_over(new_stack: NewStack, redis_server: RedisServer, connect: Connect) -> None:
    """The leader is killed in the middle of a run: nothing is lost, nothing comes twice."""
    redis_server.command("DEL", "workflow_events")
    with new_stack(redis_server) as stack:
        leader = stack.runbus()
        leader.await_log("relay_leads")
        standby = stack.runbus()
        standby.await_log("relay_standby")
        server = stack.serve()
        client: PythonClient = await connect("python-websocket", server)
        await client.emit("subscribe_bot", {"bot_id": "bot"})
        await client.wait("subscribed")
        run = run_of(600, "takeover", "bot")
        stack.add_to_stream(*run[:100])
        await client.wait("workflow_event", 50)
        publishing = asyncio.create_task(asyncio.to_thread(stack.add_to_stream, *run[100:]))
        await client.wait("workflow_event", 150)
        leader.kill()
        # Nobody renews its lease: the standby has to wait for no longer than this.
        assert redis_server.command("PTTL", f"{stack.prefix}:lease") <= 3_000
        await publishing
        await client.wait("workflow_event", 600)
        assert_delivered(client.all("workflow_event"), run, "bot")
        assert "relay_leads" in standby.log


# -- a server that dies ------------------------------------------------------------------------------------------------


class Balancer:
    """What stands in front of several servers: takes each new connection to the first that answers."""

    def __init__(self, *servers: Server) -> None:
        self._servers = servers
        self._listener: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def __aenter__(self) -> "Balancer":
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for end in list(self._ends):
            end.close()
        await self._listener.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for server in self._servers:
            try:
                there, back = await asyncio.open_connection("127.0.0.1", server.port)
                break
            except OSError:
                continue
        else:
            writer.close()
            return
        self._ends |= {writer, back}
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        self._ends -= {writer, back}

    @staticmethod
    async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        target.close()


@pytest.mark.parametrize("kind", ["node-websocket", "node-polling", "node-default"])
async def test_the_client_of_a_killed_server_goes_to_the_other(
    new_stack: NewStack, redis_server: RedisServer, request: pytest.FixtureRequest, kind: str
) -> None:
    redis_server.command("DEL", "workflow_events")
    transports = {"node-websocket": ["websocket"], "node-polling": ["polling"], "node-default": ["polling", "websocket"]}[kind]
    with new_stack(redis_server) as stack:
        stack.runbus()
        dying, staying = stack.serve(wait=False), stack.serve(wait=False)
        for server in (dying, staying):
            server.await_health()
        async with Balancer(dying, staying) as balancer:
            client = await NodeClient(request.getfixturevalue("node")).connect(balancer.url, transports=transports)
            await until(lambda: client.transport == transports[-1], "the last transport")
            await client.emit("subscribe_workflow", {"workflow_id": "w"})
            await client.wait("subscribed")
            run = run_of(20, "w")
            stack.add_to_stream(*run[:10])
            await client.wait("workflow_event", 10)
            dying.kill()
            stack.add_to_stream(*run[10:15])
            await until(lambda: client.connects == 2, "the new connection")
            await client.wait("connected", 2)
            await client.emit("subscribe_workflow", {"workflow_id": "w"})
            replay = await client.wait("recent_events")
            assert_delivered(replay["events"], run[:15], "workflow")
            stack.add_to_stream(*run[15:])
            await client.wait("workflow_event", 15)
            assert_contiguous(replay["events"] + client.all("workflow_event")[10:], "workflow")
            await until(lambda: staying.json("/metrics")["connections"]["current"] == 1, lambda: staying.json("/metrics"))
            await client.close()


def test_a_relay_that_comes_later_is_waited_for(new_stack: NewStack, redis_server: RedisServer) -> None:
    """A server may be started first; it says what is missing, and recovers by itself."""
    redis_server.command("DEL", "workflow_events")
    with new_stack(redis_server) as stack:
        server = stack.serve(wait=False)
        await_condition(lambda: server.get("/health")[0] == 503, lambda: server.log)
        body = server.json("/health")
        assert body["status"] == "unhealthy"
        assert "runbus" in str(body["details"])
        assert server.publish(event(1, "early"))[0] == 202
        stack.runbus()
        server.await_health()
        await_condition(lambda: server.json("/metrics")["events"]["received"] == 1, lambda: str(server.json("/metrics")))
