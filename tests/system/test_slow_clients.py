"""Clients that stop reading: nobody else notices, the server does not grow, and they miss nothing that they are not told of."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.redis_server import RedisServer
from tests.system.clients import PlainClient, PythonClient, until
from tests.system.conftest import Connect
from tests.system.event_data import assert_delivered, event
from tests.system.stack import DEADLINE_S, Server, Stack

#: Events of 8 KB, 30 MB in all: many times what the kernel's buffers hold.
EVENT_BYTES: Final = 8_192
COUNT: Final = 3_750

#: Enough to make a client lag, where the volume does not matter.
SMALL_COUNT: Final = 1_500

#: Published at once. The next follow when the honest clients have these, so that nobody lags but who is to.
STEP: Final = 150

#: WS_CLIENT_BUFFER_BYTES, and what one batch may add to it: a page of the journal.
BUFFER_BYTES: Final = 262_144
BATCH_BYTES: Final = 500 * (EVENT_BYTES + 512)

GROWTH_KB: Final = 25 * 1_024

#: Entries of a short journal. Redis trims in blocks, so it may keep some more.
SHORT_JOURNAL: Final = 200

RECEIVE_BUFFER: Final = 4_096

KINDS: Final = ["websocket", "polling"]


# -- clients that stop reading -----------------------------------------------------------------------------------------


class Stalled(Protocol):
    """A client that reads only what it is asked to read."""

    async def subscribe(self, workflow: str) -> None: ...

    async def read(self) -> list[tuple[str, Any]]:
        """The next events with their data, at least one. Raises `ConnectionError` when the server ended the connection."""


class StalledSocket:
    """A WebSocket with a small window."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def subscribe(self, workflow: str) -> None:
        await self._connection.send(json.dumps({"event": "subscribe_workflow", "data": {"workflow_id": workflow}}))
        while (await self.read())[0][0] != "subscribed":
            pass

    async def read(self) -> list[tuple[str, Any]]:
        try:
            message = json.loads(await asyncio.wait_for(self._connection.recv(), DEADLINE_S))
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from error
        return [(message["event"], message["data"])]


class StalledPoller:
    """A Socket.IO client on long-polling."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def subscribe(self, workflow: str) -> None:
        await self._post("40")
        await self._read_until("connected")
        await self._post("42" + json.dumps(["subscribe_workflow", {"workflow_id": workflow}]))
        await self._read_until("subscribed")

    async def _read_until(self, wanted: str) -> None:
        # What is replayed may come in the same answer.
        while wanted not in [name for name, _ in await self.read()]:
            pass

    async def read(self) -> list[tuple[str, Any]]:
        events: list[tuple[str, Any]] = []
        while not events:
            async with self._http.get(self._url) as answer:
                if answer.status != 200:
                    raise ConnectionError(await answer.text())
                packets = (await answer.text()).split("\x1e")
            if "2" in packets:
                await self._post("3")
            events = [(name, data) for name, data in (json.loads(packet[2:]) for packet in packets if packet[:2] == "42")]
        return events

    async def _post(self, packet: str) -> None:
        async with self._http.post(self._url, data=packet) as answer:
            assert answer.status == 200


@asynccontextmanager
async def stalled_socket(server: Server) -> AsyncIterator[Stalled]:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", server.port))
    url = f"{server.ws_url}/ws/events"
    # It never says goodbye: a server that waits for the answer of such a client is not to hold up the test.
    options: dict[str, Any] = {"max_queue": 1, "max_size": None, "compression": None, "ping_interval": None, "close_timeout": 1}
    async with connect(url, sock=raw, **options) as connection:
        yield StalledSocket(connection)


@asynccontextmanager
async def stalled_poller(server: Server) -> AsyncIterator[Stalled]:
    url = f"{server.url}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE_S)) as http:
        async with http.get(url) as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        yield StalledPoller(http, f"{url}&sid={sid}")


STALLED: Final = {"websocket": stalled_socket, "polling": stalled_poller}


# -- deployments -------------------------------------------------------------------------------------------------------


@dataclass
class Deployment:
    """One relay and one server, with a bus of their own."""

    redis: RedisServer
    bus: str
    server: Server

    def publish(self, events: list[dict[str, Any]]) -> None:
        with redis.Redis(port=self.redis.port, protocol=2) as client, client.pipeline(transaction=False) as pipeline:
            for item in events:
                pipeline.xadd(self.bus, {"event": json.dumps(item)})
            pipeline.execute()

    def lagging(self) -> int:
        count: int = self.server.json("/metrics")["clients"]["lagging"]
        return count

    def resident_kb(self) -> int:
        """VmRSS of the server process."""
        lines = Path(f"/proc/{self.server.pid}/status").read_text(encoding="ascii").splitlines()
        [line] = [line for line in lines if line.startswith("VmRSS:")]
        return int(line.split()[1])


New = Callable[..., Deployment]


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[New]:
    with ExitStack() as stacks:

        def new(bus: str, **variables: str) -> Deployment:
            own = {"WS_BUS_NAME": bus, "WS_CLIENT_BUFFER_BYTES": str(BUFFER_BYTES)}
            stack = stacks.enter_context(Stack(tmp_path_factory.mktemp(bus), redis_server, **own, **variables))
            stack.runbus()
            return Deployment(redis_server, bus, stack.serve())

        yield new


@pytest.fixture(scope="module")
def patient(deploy: New) -> Deployment:
    return deploy("patient")


@pytest.fixture(scope="module")
def forgetful(deploy: New) -> Deployment:
    return deploy("forgetful", WS_JOURNAL_MAX_EVENTS=str(SHORT_JOURNAL), WS_MAX_RECENT_EVENTS="50")


@pytest.fixture(scope="module")
def strict(deploy: New) -> Deployment:
    return deploy("strict", WS_SLOW_CLIENT_DEADLINE_S="2")


# -- runs --------------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """Events on one workflow, and the honest clients that get them."""

    deployment: Deployment
    workflow: str
    honest: list[PlainClient | PythonClient]
    events: list[dict[str, Any]] = field(default_factory=list)
    peak_kb: int = 0

    async def publish(self, count: int) -> None:
        """Returns when the honest clients have all of them."""
        end = len(self.events) + count
        while len(self.events) < end:
            start = len(self.events)
            step = [self._event(number) for number in range(start, min(start + STEP, end))]
            self.events += step
            await asyncio.to_thread(self.deployment.publish, step)
            await until(self._delivered, lambda: f"{len(self.events)} events at all honest clients")
            self.peak_kb = max(self.peak_kb, self.deployment.resident_kb())

    def _event(self, number: int) -> dict[str, Any]:
        return event(number, self.workflow, padding="x" * EVENT_BYTES)

    def _delivered(self) -> bool:
        # Each was told first that it is connected and subscribed.
        return all(len(client.received) >= len(self.events) + 2 for client in self.honest)

    def check_honest(self) -> None:
        for client in self.honest:
            assert_delivered(client.all("workflow_event"), self.events, "workflow")
            assert not client.all("events_missed")
            assert not client.closed


async def begin(deployment: Deployment, connect: Connect, kind: str, kinds: list[str]) -> Run:
    run = Run(deployment, f"run-{kind}", [await connect(honest, deployment.server) for honest in kinds])
    for client in run.honest:
        await client.emit("subscribe_workflow", {"workflow_id": run.workflow})
        await client.wait("subscribed")
    return run


async def read_all(client: Stalled, last: int) -> list[tuple[str, Any]]:
    """What comes up to the event of this number."""
    got: list[tuple[str, Any]] = []
    while not (got and got[-1][0] == "workflow_event" and got[-1][1]["number"] == last):
        got += await client.read()
    return got


# -- tests -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stalled_client_costs_nobody_anything(patient: Deployment, connect: Connect, kind: str) -> None:
    """Neither the others nor the server's memory. When it reads again it gets every event once, and is live."""
    run = await begin(patient, connect, kind, ["plain", "python-websocket", "python-polling"])
    # The first events make the process as big as it has to be: measured, it stops growing after some 1,000.
    await run.publish(10 * STEP)
    async with STALLED[kind](patient.server) as client:
        await client.subscribe(run.workflow)
        warm_kb, joined = patient.resident_kb(), len(run.events)
        await run.publish(COUNT)
        run.check_honest()
        assert run.peak_kb - warm_kb < GROWTH_KB

        metrics = await asyncio.to_thread(patient.server.json, "/metrics")
        assert metrics["clients"]["lagging"] == 1
        assert 0 < metrics["clients"]["backlog_bytes"] <= BUFFER_BYTES + BATCH_BYTES

        got = await read_all(client, len(run.events) - 1)
        if got[0][0] == "recent_events":
            got.pop(0)
        assert {name for name, _ in got} == {"workflow_event"}
        assert_delivered([data for _, data in got], run.events[joined:], "workflow")

        await until(lambda: patient.lagging() == 0, "nobody is lagging")
        await run.publish(10)
        live = await read_all(client, len(run.events) - 1)
        assert_delivered([data for _, data in live], run.events[-10:], "workflow")
    run.check_honest()


@pytest.mark.parametrize("kind", KINDS)
async def test_what_no_history_has_any_more_is_told(forgetful: Deployment, connect: Connect, kind: str) -> None:
    run = await begin(forgetful, connect, kind, ["plain", "plain"])
    async with STALLED[kind](forgetful.server) as client:
        await client.subscribe(run.workflow)
        await run.publish(SMALL_COUNT)
        run.check_honest()
        got = await read_all(client, len(run.events) - 1)
        await until(lambda: forgetful.lagging() == 0, "nobody is lagging")
        await run.publish(10)
        got += await read_all(client, len(run.events) - 1)
    missed = check_tiling(run, got)
    assert 0 < missed < SMALL_COUNT - SHORT_JOURNAL
    # Going live again cost nothing.
    assert [data["number"] for _, data in got[-10:]] == [item["number"] for item in run.events[-10:]]


def check_tiling(run: Run, got: list[tuple[str, Any]]) -> int:
    """Each offset was either delivered or told to be missed, once and in order. Returns how many were missed."""
    at, missed = 1, 0
    for name, data in got:
        if name == "events_missed":
            assert (data["type"], data["workflow_id"]) == ("workflow", run.workflow)
            assert (data["from"], data["reason"]) == (at, "client_too_slow")
            missed += data["to"] - at + 1
            at = data["to"] + 1
        else:
            assert (name, data["offsets"]["workflow"], data["number"]) == ("workflow_event", at, at - 1)
            at += 1
    assert at == len(run.events) + 1
    return missed


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_never_reads_is_cut_off(strict: Deployment, connect: Connect, kind: str) -> None:
    run = await begin(strict, connect, kind, ["plain", "plain"])
    async with STALLED[kind](strict.server) as client:
        await client.subscribe(run.workflow)
        await run.publish(SMALL_COUNT)
        await until(lambda: "client too slow: took nothing for 2 s" in strict.server.log, lambda: strict.server.log)
        await until(lambda: strict.server.json("/metrics")["connections"]["current"] == 2, "the end of the stalled client")
        metrics = strict.server.json("/metrics")["clients"]
        assert (metrics["lagging"], metrics["backlog_bytes"]) == (0, 0)
        with pytest.raises(ConnectionError):
            await read_all(client, len(run.events))
    await run.publish(10)
    run.check_honest()
