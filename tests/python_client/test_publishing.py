"""Publishing with the Python client: to real servers and a real Redis, which go away; executors that are killed."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from events.domain.event import EventLimits, parse_event
from tests.conftest import ROOT
from tests.python_client.collector import Collector
from tests.redis_server import RedisServer, free_port
from tests.system.event_data import numbers
from tests.system.stack import Server, Stack, await_condition
from workflow_events import Event, InvalidEvent, Publisher, Subscribed
from workflow_events.buffer import Batch
from workflow_events.outlets import RedisOutlet

LIMITS: Final = EventLimits()

#: The longest id that the server of these tests takes; shorter than what the client takes.
ID_LENGTH: Final = 100

#: Events from before it is there; more than one batch.
EARLY: Final = 1_200


def step(number: int, **fields: Any) -> dict[str, Any]:
    return {"type": "step", "execution_id": "exec_1", "workflow_id": "w", "number": number, **fields}


def stream(redis: RedisServer, name: str = "workflow_events") -> list[dict[str, Any]]:
    """What is on a stream."""
    return [orjson.loads(fields[b"event"]) for _, fields in redis.command("XRANGE", name, "-", "+")]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def bus(redis: RedisServer) -> RedisServer:
    """A Redis with nothing on the stream."""
    redis.command("DEL", "workflow_events")
    return redis


@pytest.fixture(scope="module")
def early(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Publisher, Server]]:
    """A publisher that had events before there was a server, and the server."""
    port = free_port()
    with (
        Publisher.to_http(f"http://127.0.0.1:{port}", spool=tmp_path_factory.mktemp("spool")) as publisher,
        Stack(tmp_path_factory.mktemp("embedded"), WS_MAX_ID_LENGTH=str(ID_LENGTH)) as stack,
    ):
        for number in range(EARLY):
            publisher.emit(step(number, workflow_id="early"))
        await_condition(lambda: publisher.stats.failures > 0, lambda: str(publisher.stats))
        yield publisher, stack.serve(port=port)


@pytest.fixture
def server(early: tuple[Publisher, Server]) -> Server:
    return early[1]


class Memory:
    """An outlet that takes everything, for looking at it."""

    where = "memory"

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def send(self, batch: Batch) -> None:
        for document in batch.documents:
            assert parse_event(document, LIMITS).document == document, "the server takes it as it is"
            self.events.append(orjson.loads(document))

    def close(self) -> None:
        pass


def emitted(work: Callable[[Publisher], object]) -> list[dict[str, Any]]:
    """The events of some work, without those fields that differ each time."""
    memory = Memory()
    with Publisher(memory) as publisher:
        work(publisher)
        assert publisher.flush(10)
    ids = {event["execution_id"] for event in memory.events}
    assert len(ids) == 1
    assert all(event["timestamp"] for event in memory.events)
    for event in memory.events:
        assert event.pop("execution_id")
        del event["timestamp"]
        if "duration_ms" in event:
            assert 0 <= event.pop("duration_ms") < 10_000
    return memory.events


# -- executions ----------------------------------------------------------------------------------------------------------


def test_an_execution_emits_the_events_of_the_guide() -> None:
    def work(publisher: Publisher) -> None:
        with publisher.execution("arb", bot_id="bot", strategy_id="s", node_count=1) as run:
            with run.node("price", name="Price Feed", category="providers") as node:
                node.outputs["price"] = 1.5
            run.emit("signal_generated", signal="buy")
            run.results["action_1"] = {"filled": True}

    common = {"workflow_id": "arb", "bot_id": "bot", "strategy_id": "s"}
    assert emitted(work) == [
        {"type": "execution_started", **common, "node_count": 1},
        {"type": "node_started", **common, "node_id": "price", "node_name": "Price Feed", "node_category": "providers"},
        {"type": "node_completed", **common, "node_id": "price", "status": "success", "outputs": {"price": 1.5}},
        {"type": "signal_generated", **common, "signal": "buy"},
        {"type": "execution_completed", **common, "status": "completed", "results": {"action_1": {"filled": True}}},
    ]


def test_an_exception_fails_the_node_and_the_execution_and_goes_on() -> None:
    def work(publisher: Publisher) -> None:
        with pytest.raises(TimeoutError), publisher.execution("arb") as run, run.node("price"):
            raise TimeoutError("Connection timeout")

    failure = {"error": "Connection timeout", "error_type": "TimeoutError"}
    assert emitted(work)[2:] == [
        {"type": "node_failed", "workflow_id": "arb", "node_id": "price", **failure},
        {"type": "execution_completed", "workflow_id": "arb", "status": "failed", "results": {}, **failure},
    ]


def test_a_failure_that_is_handled_is_only_the_nodes() -> None:
    def work(publisher: Publisher) -> None:
        with publisher.execution("arb") as run, pytest.raises(ValueError, match="bad"), run.node("price"):
            raise ValueError("bad")

    assert [event["type"] for event in emitted(work)][2:] == ["node_failed", "execution_completed"]
    assert emitted(work)[-1]["status"] == "completed"


def test_a_cancelled_task_cancels_its_execution() -> None:
    async def run_and_cancel(publisher: Publisher) -> None:
        inside = asyncio.Event()

        async def execute() -> None:
            async with publisher.execution("arb") as run, run.node("price"):
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(execute())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    events = emitted(lambda publisher: asyncio.run(run_and_cancel(publisher)))
    assert [event["type"] for event in events][2:] == ["node_failed", "execution_completed"]
    assert events[-1]["status"] == "cancelled"


def test_an_execution_can_be_worked_on_elsewhere() -> None:
    memory = Memory()
    with Publisher(memory) as publisher:
        run = publisher.execution("arb", execution_id="exec_elsewhere")
        with run.node("price"):
            pass
    assert [(event["type"], event["execution_id"]) for event in memory.events] == [
        ("node_started", "exec_elsewhere"),
        ("node_completed", "exec_elsewhere"),
    ]


def test_outputs_that_are_too_large_do_not_fail_the_executor() -> None:
    def work(publisher: Publisher) -> None:
        with publisher.execution("arb") as run, run.node("price") as node:
            node.outputs["book"] = "x" * 1_000_001

    assert emitted(work)[2]["outputs"] == {}


# -- what is emitted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": None}, "type"),
        ({"workflow_id": "  "}, "workflow_id"),
        ({"bot_id": 7}, "bot_id"),
        ({"execution_id": "x" * 257}, "execution_id"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"outputs": "x" * 1_000_001}, "event"),
    ],
)
def test_an_invalid_event_names_its_field_and_is_counted(change: dict[str, Any], field: str) -> None:
    memory = Memory()
    with Publisher(memory) as publisher:
        with pytest.raises(InvalidEvent) as caught:
            publisher.emit(step(1, **change))
        publisher.emit(step(2))
        assert publisher.flush(10)
        assert (publisher.stats.rejected, publisher.stats.published) == (1, 1)
    assert caught.value.field == field
    assert numbers(memory.events) == [2]


def test_events_of_many_threads_all_come() -> None:
    memory = Memory()
    with Publisher(memory) as publisher:

        def emit(thread: int) -> None:
            for number in range(500):
                publisher.emit(step(number, thread=thread))

        threads = [threading.Thread(target=emit, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert publisher.flush(10)
    for emitter in range(4):
        assert numbers(event for event in memory.events if event["thread"] == emitter) == list(range(500))


def test_a_publisher_from_before_a_fork_is_refused() -> None:
    program = (
        "import os\n"
        "from workflow_events import Publisher\n"
        "publisher = Publisher.to_http('http://127.0.0.1:1')\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        publisher.emit({})\n"
        "    except RuntimeError as error:\n"
        "        print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert "make it in the process that uses it" in done.stdout


# -- Redis ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spooled", [True, False])
def test_events_outlast_an_outage_of_redis_once_and_in_order(bus: RedisServer, tmp_path: Path, spooled: bool) -> None:
    with Publisher.to_redis(bus.url, spool=tmp_path if spooled else None) as publisher:
        for number in range(1000):
            publisher.emit(step(number))
            if number == 300:
                bus.kill()
        await_condition(lambda: publisher.stats.failures > 0, lambda: str(publisher.stats))
        assert publisher.stats.pending
        assert "127.0.0.1" in publisher.stats.last_error
        bus.start()
        assert publisher.flush(30)
        assert (publisher.stats.published, publisher.stats.last_error) == (1000, "")
    assert numbers(stream(bus)) == list(range(1000))


def test_a_batch_whose_answer_was_lost_is_added_once(bus: RedisServer) -> None:
    outlet = RedisOutlet(bus.url, "workflow_events", 100_000)
    documents = [orjson.dumps(step(number)) for number in range(4)]
    outlet.send(Batch("p", 1, documents[:2]))
    outlet.send(Batch("p", 1, documents))
    outlet.send(Batch("p", 1, documents))
    outlet.send(Batch("another", 1, documents[:1]))
    outlet.close()
    assert numbers(stream(bus)) == [0, 1, 2, 3, 0]


def test_a_killed_executor_leaves_its_events_to_the_next_one(bus: RedisServer, tmp_path: Path) -> None:
    def executor() -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.python_client.executor", bus.url, str(tmp_path)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def emit(process: "subprocess.Popen[str]", *numbers: int) -> None:
        """Returns when each `emit` has returned."""
        assert process.stdin is not None
        assert process.stdout is not None
        for number in numbers:
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{number}\n"

    with executor() as first:
        assert first.stdout is not None
        first.stdout.readline()
        emit(first, 0, 1, 2)
        await_condition(lambda: len(stream(bus)) == 3, lambda: str(stream(bus)))
        bus.kill()
        emit(first, 3, 4, 5)
        first.kill()
    bus.start()
    with executor() as second:
        assert second.stdout is not None
        assert second.stdout.readline() == "3\n"
        emit(second, 6)
        await_condition(lambda: len(stream(bus)) >= 7, lambda: str(stream(bus)))
        second.kill()
    assert numbers(stream(bus)) == [0, 1, 2, 3, 4, 5, 6]


# -- HTTP ----------------------------------------------------------------------------------------------------------------


def test_events_wait_for_a_server_that_is_not_there_yet(early: tuple[Publisher, Server]) -> None:
    publisher, server = early
    assert publisher.flush(30)
    assert (publisher.stats.published, publisher.stats.dropped, publisher.stats.rejected) == (EARLY, 0, 0)
    await_condition(lambda: server.json("/metrics")["events"]["received"] >= EARLY, lambda: str(server.json("/metrics")))
    with Collector("async", server.url, workflow="early") as collector:
        collector.wait(Event, 100)
        assert numbers(collector.events) == list(range(EARLY - 100, EARLY))
        assert collector.events[-1]["offsets"]["workflow"] == EARLY


def test_an_event_that_the_server_refuses_holds_up_no_other(server: Server) -> None:
    with Publisher.to_http(server.url) as publisher, Collector("async", server.url, workflow="w") as collector:
        collector.wait(Subscribed)
        for number in range(3):
            publisher.emit(step(number, bot_id="b" * (ID_LENGTH + 1) if number == 1 else "b"))
        assert publisher.flush(10)
        assert (publisher.stats.published, publisher.stats.rejected) == (2, 1)
        collector.wait(Event, 2)
        assert numbers(collector.events) == [0, 2]


class Narrow(BaseHTTPRequestHandler):
    """Takes bodies up to a size, as a proxy would."""

    bodies: Final[list[bytes]] = []
    tokens: Final[list[str | None]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        taken = len(body) <= 1_000
        if taken:
            self.bodies.append(body)
            self.tokens.append(self.headers["Authorization"])
        self.send_response(202 if taken else 413)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Tests stay quiet."""


def test_a_batch_that_is_too_large_is_divided() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Narrow) as narrow:
        thread = threading.Thread(target=narrow.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with Publisher.to_http(f"http://127.0.0.1:{narrow.server_port}", token=lambda: "t0ken") as publisher:
            for number in range(20):
                publisher.emit(step(number, text="x" * (1_000 if number == 7 else 50)))
            assert publisher.flush(10)
            assert (publisher.stats.published, publisher.stats.rejected) == (19, 1)
        narrow.shutdown()
        thread.join()
    assert numbers(event for body in Narrow.bodies for event in orjson.loads(body)) == [*range(7), *range(8, 20)]
    assert set(Narrow.tokens) == {"Bearer t0ken"}


def test_closing_does_not_wait_longer_than_it_may() -> None:
    publisher = Publisher.to_http(f"http://127.0.0.1:{free_port()}")
    publisher.emit(step(1))
    assert publisher.close(timeout_s=0.1) == 1
    with pytest.raises(RuntimeError, match="closed"):
        publisher.emit(step(2))
