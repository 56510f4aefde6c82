"""Redis goes away, refuses or forgets: sockets stay, `/health` says why, and everything goes on by itself without a gap."""

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

import pytest
import redis

from tests.redis_server import RedisServer
from tests.system.clients import PlainClient, PythonClient, until
from tests.system.conftest import Connect
from tests.system.event_data import assert_contiguous, assert_delivered, published, run_of
from tests.system.stack import Program, Server, Stack, await_condition

AnyClient = PythonClient | PlainClient

CLIENTS: Final = ["python-websocket", "python-polling", "plain"]

#: A load balancer is to hear of an outage within so long.
NOTICED_S: Final = 10.0

#: Events before, during and after a fault.
COUNT: Final = 20


@dataclass
class Deployment:
    """One relay and one server, on a Redis that keeps what it has."""

    stack: Stack
    redis: RedisServer
    relay: Program
    server: Server


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    kept = RedisServer("--appendonly", "yes", "--appendfsync", "everysec")
    with kept, Stack(tmp_path_factory.mktemp("faults"), kept) as stack:
        relay = stack.runbus()
        yield Deployment(stack, kept, relay, stack.serve())


class Executor:
    """Publishes the numbered events of one workflow on the stream, and repeats what Redis did not take."""

    def __init__(self, server: RedisServer, workflow: str) -> None:
        self._redis = server
        self._workflow = workflow
        self._milliseconds = 0
        self.run: list[dict[str, Any]] = []

    async def publish(self, count: int = COUNT) -> None:
        """Returns when Redis has them all."""
        events = run_of(count, self._workflow, start=len(self.run))
        self.run += events
        await asyncio.to_thread(self._add, events)

    def _add(self, events: list[dict[str, Any]]) -> None:
        for item in events:
            self._add_one(json.dumps(item))

    def _add_one(self, document: str) -> None:
        # An id of our own tells whether Redis took an event without saying so. The relay's canaries are on the stream too:
        # an id that one of them has overtaken is refused, and the event needs a new one.
        tried: list[str] = []

        def taken() -> bool:
            try:
                if any(self._redis.command("XRANGE", "workflow_events", identifier, identifier) for identifier in tried):
                    return True
                tried.append(self._next_id())
                self._redis.command("XADD", "workflow_events", tried[-1], "event", document)
            except redis.RedisError:
                return False
            return True

        await_condition(taken, lambda: f"Redis takes {document}")

    def _next_id(self) -> str:
        self._milliseconds = max(self._milliseconds + 1, time.time_ns() // 1_000_000)
        return f"{self._milliseconds}-1"


async def subscribe(connect: Connect, server: Server, workflow: str) -> list[AnyClient]:
    """One client of each kind, subscribed to a workflow."""
    clients: list[AnyClient] = [await connect(kind, server) for kind in CLIENTS]
    for client in clients:
        await client.emit("subscribe_workflow", {"workflow_id": workflow})
        await client.wait("subscribed")
    return clients


async def unhealthy(server: Server, deadline_s: float = NOTICED_S) -> str:
    """What `/health` gives as the reason, once it says 503."""
    reasons: list[str] = []

    def found() -> bool:
        status, body = server.get("/health")
        if status == 503:
            reasons.append(json.dumps(json.loads(body)["details"]))
        return status == 503

    await asyncio.to_thread(await_condition, found, lambda: str(server.get("/health")), deadline_s)
    return reasons[0]


async def healthy(server: Server) -> None:
    await asyncio.to_thread(server.await_health)


def told(client: AnyClient) -> list[dict[str, Any]]:
    """The gaps that a client was told of. The pub/sub channel keeps nothing while nobody listens, and says so; this is about
    everything else."""
    return [missed for missed in client.all("events_missed") if missed.get("source") != "pubsub"]


# -- no fault ----------------------------------------------------------------------------------------------------------


async def test_the_group_is_told_of_events_by_the_step_that_writes_them(deployment: Deployment, connect: Connect) -> None:
    """The way that events take when nothing is wrong: Redis says which commands a script gave."""
    executor = Executor(deployment.redis, "announced")
    [client, *_] = await subscribe(connect, deployment.server, "announced")
    with redis.Redis(port=deployment.redis.port) as one, one.monitor() as monitor:
        await executor.publish(3)
        await until(lambda: len(client.all("workflow_event")) == 3, lambda: f"three events: {client.received}")
        deployment.redis.command("PUBLISH", "done", "")
        commands = takewhile(lambda found: not found["command"].startswith("PUBLISH done"), monitor.listen())
        sent = [found for found in commands if found["command"].startswith("PUBLISH ")]
        told_by = [found["client_type"] for found in sent if "events.batch" in found["command"]]
    assert told_by
    assert set(told_by) == {"lua"}
    assert_delivered(client.all("workflow_event"), executor.run, "workflow")


# -- faults that cost nothing ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What happens to Redis, and what ends it.

    reason:  something that `/health` says meanwhile; empty when the fault is over before anybody could see it
    seconds: how long it lasts at least
    """

    begin: Callable[[RedisServer], object]
    end: Callable[[RedisServer], object]
    reason: str
    seconds: float = 0.0


def cut(server: RedisServer) -> None:
    for kind in ("normal", "pubsub"):
        server.command("CLIENT", "KILL", "TYPE", kind)


FAULTS: Final = {
    "restarted": Fault(RedisServer.stop, RedisServer.start, "cannot be reached", 3.0),
    "frozen": Fault(RedisServer.pause, RedisServer.resume, "answer", 6.0),
    "cut": Fault(cut, lambda server: None, ""),
    "full": Fault(
        lambda server: server.command("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction"),
        lambda server: server.command("CONFIG", "SET", "maxmemory", "0"),
        "no memory",
    ),
    "read-only": Fault(
        lambda server: server.command("REPLICAOF", "127.0.0.1", "1"),
        lambda server: server.command("REPLICAOF", "NO", "ONE"),
        "read-only",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_costs_nothing(deployment: Deployment, connect: Connect, name: str) -> None:
    fault, server = FAULTS[name], deployment.server
    executor = Executor(deployment.redis, name)
    clients = await subscribe(connect, server, name)
    sids = [client.sid for client in clients]
    await executor.publish()
    for client in clients:
        await client.wait("workflow_event", COUNT)

    await cause(fault, deployment, executor)
    await healthy(server)
    await executor.publish()
    for client in clients:
        await client.wait("workflow_event", len(executor.run))
        assert_delivered(client.all("workflow_event"), executor.run, "workflow")
        assert not told(client)
        assert not client.closed
    assert [client.sid for client in clients] == sids
    assert all(len(client.all("connected")) == 1 for client in clients)
    assert deployment.relay.code is None
    assert server.code is None


async def cause(fault: Fault, deployment: Deployment, executor: Executor) -> None:
    """The fault from its beginning to its end, while the executor goes on trying."""
    began = time.monotonic()
    await asyncio.to_thread(fault.begin, deployment.redis)
    publishing = asyncio.create_task(executor.publish())
    if fault.reason:
        reason = await unhealthy(deployment.server)
        assert fault.reason in reason
        assert "pipeline" not in reason, "it quotes the command"
    await until(lambda: time.monotonic() - began > fault.seconds, "the end of the outage")
    await asyncio.to_thread(fault.end, deployment.redis)
    await publishing


# -- a history that is lost --------------------------------------------------------------------------------------------


async def test_after_a_flush_clients_are_told_and_go_on(deployment: Deployment, connect: Connect) -> None:
    server, executor = deployment.server, Executor(deployment.redis, "flushed")
    clients = await subscribe(connect, server, "flushed")
    resuming: PlainClient = await connect("plain", server)
    before = await resuming.call("subscribe_workflow", {"workflow_id": "flushed", "epoch": None, "offset": None})
    await executor.publish()
    for client in clients:
        await client.wait("workflow_event", COUNT)

    deployment.redis.command("FLUSHALL")
    await until(lambda: all(told(client) for client in clients), "events_missed")
    await executor.publish()
    await healthy(server)
    after = await resuming.call("subscribe_workflow", {"workflow_id": "flushed", "epoch": None, "offset": None})
    assert after["epoch"] != before["epoch"]
    for client in clients:
        await client.wait("workflow_event", 2 * COUNT)
        # A canary that begins the stream anew before the relay has noticed shows that the bus lost what it had, too.
        [missed] = [each for each in told(client) if each["type"] != "bus"]
        expected = {"type": "workflow", "workflow_id": "flushed", "from": None, "to": None, "reason": "history_lost"}
        assert missed == expected | {"epoch": after["epoch"]}
        delivered = client.all("workflow_event")
        assert [published(item) for item in delivered] == executor.run
        assert_contiguous(delivered[COUNT:], "workflow")
        assert delivered[COUNT]["offsets"]["workflow"] == 1
        names = [name for name, _ in client.received]
        assert names.index("events_missed") < [i for i, name in enumerate(names) if name == "workflow_event"][COUNT]
        assert not client.closed


# -- what stands between Redis and the server --------------------------------------------------------------------------


async def test_without_a_relay(deployment: Deployment, connect: Connect) -> None:
    server, executor = deployment.server, Executor(deployment.redis, "unrelayed")
    clients = await subscribe(connect, server, "unrelayed")
    await executor.publish()
    deployment.relay.signal(signal.SIGTERM)
    assert await asyncio.to_thread(deployment.relay.wait) == 0
    assert "runbus" in await unhealthy(server)
    await executor.publish()
    deployment.relay = deployment.stack.runbus()
    await healthy(server)
    await executor.publish()
    for client in clients:
        await client.wait("workflow_event", len(executor.run))
        assert_delivered(client.all("workflow_event"), executor.run, "workflow")
        assert not client.closed


async def test_a_deaf_server(deployment: Deployment, connect: Connect) -> None:
    """It may do everything with Redis but subscribe. It says so of itself, the other server is well, and it recovers alone."""
    kept = deployment.redis
    kept.command("ACL", "SETUSER", "web", "on", ">secret", "~*", "&*", "+@all")
    deaf = deployment.stack.serve(REDIS_URL=f"redis://web:secret@127.0.0.1:{kept.port}/0")
    executor = Executor(kept, "deaf")
    clients = await subscribe(connect, deaf, "deaf")
    await executor.publish()
    for client in clients:
        await client.wait("workflow_event", COUNT)

    kept.command("ACL", "SETUSER", "web", "-subscribe", "-psubscribe")
    assert kept.command("CLIENT", "KILL", "USER", "web", "TYPE", "pubsub") >= 1
    await executor.publish()
    assert "This server process has not heard from the relay" in await unhealthy(deaf)
    assert (await asyncio.to_thread(deployment.server.get, "/health"))[0] == 200
    kept.command("ACL", "SETUSER", "web", "+subscribe", "+psubscribe")
    await healthy(deaf)
    await executor.publish()
    for client in clients:
        await client.wait("workflow_event", len(executor.run))
        assert_delivered(client.all("workflow_event"), executor.run, "workflow")
        assert not told(client)
        assert not client.closed
