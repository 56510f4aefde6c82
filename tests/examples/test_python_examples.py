"""The examples that are Python, and those by hand, against a real server."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import blocks
from tests.python_client.collector import Collector
from tests.redis_server import RedisServer
from tests.system.event_data import event
from tests.system.stack import Program, Server, Stack, await_condition
from workflow_events import Event, Subscribed

WORKER = ROOT / "examples" / "celery_worker"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("examples")) as running:
        yield running


@pytest.fixture(scope="module")
def server(stack: Stack) -> Server:
    return stack.serve()


def test_the_client_follows(stack: Stack, server: Server) -> None:
    client = stack.run("examples/python_client.py", "--url", server.url, "--workflow", "followed")
    client.await_log("Connected as")
    server.publish(event(1, "followed", node_id="price_binance"))
    client.await_log("node_completed       exec_followed_a1b2c3d4  price_binance")
    client.stop()


@pytest.mark.parametrize(("flags", "end"), [((), "completed"), (("--fail",), "failed")])
def test_the_executor_publishes(stack: Stack, server: Server, tmp_path: Path, flags: tuple[str, ...], end: str) -> None:
    workflow = f"executor-{end}"
    arguments = ["--url", server.url, "--workflow", workflow, "--spool", str(tmp_path)]
    with Collector("sync", server.url, workflow=workflow) as collector:
        executor = stack.run("examples/executor.py", *arguments, *flags)
        assert executor.wait() == 0, executor.log
        collector.wait(Event, 9)
        assert [item["type"] for item in collector.events] == [
            "execution_started",
            *("node_started", "node_completed") * 2,
            "signal_generated",
            "node_started",
            "node_completed" if end == "completed" else "node_failed",
            "execution_completed",
        ]
        assert collector.events[-1]["status"] == end
    assert "9 events published, 0 wait" in executor.log


def test_an_executor_without_a_server_keeps_its_events_for_the_next_one(stack: Stack, server: Server, tmp_path: Path) -> None:
    arguments = ["--workflow", "kept", "--spool", str(tmp_path)]
    first = stack.run("examples/executor.py", "--url", "http://127.0.0.1:1", *arguments)
    assert first.wait() == 1
    assert "0 events published, 9 wait" in first.log
    second = stack.run("examples/executor.py", "--url", server.url, *arguments)
    assert second.wait() == 0
    assert "18 events published, 0 wait" in second.log


def test_the_celery_worker_publishes(stack: Stack, server: Server, tmp_path: Path) -> None:
    """A run within one task, and one that goes over two; by a real worker with two processes."""
    with RedisServer() as broker, Collector("async", server.url, bot="celery") as collector:
        collector.wait(Subscribed)
        variables = {"BROKER_URL": broker.url, "EVENTS_URL": server.url, "EVENTS_SPOOL": str(tmp_path)}
        command = [
            "--workdir",
            str(WORKER),
            "-A",
            "tasks",
            "worker",
            "--concurrency",
            "2",
            "--without-gossip",
            "--without-mingle",
        ]
        worker = stack.run("-m", "celery", *command, **variables)
        starter = stack.run(str(WORKER / "tasks.py"), **variables)
        assert starter.wait() == 0, starter.log
        await_condition(lambda: len(collector.events) == 10, lambda: f"{collector.events}\n{worker.log}")
        worker.stop()
    whole, steps = (
        [item["type"] for item in collector.events if item["workflow_id"] == name] for name in ("celery_whole", "celery_steps")
    )
    assert whole == ["execution_started", "node_started", "node_completed", "execution_completed"]
    assert steps == ["execution_started", *("node_started", "node_completed") * 2, "execution_completed"]


def test_the_workers_celery_is_the_one_that_is_tested() -> None:
    (pinned,) = (WORKER / "requirements.txt").read_text().split()
    assert pinned in (ROOT / "requirements-dev.in").read_text()


@pytest.mark.parametrize("program", ["websocat", "python -m websockets"])
def test_a_subscription_by_hand(server: Server, tmp_path: Path, program: str) -> None:
    (written,) = (block for block in blocks(ROOT / "examples" / "README.md", "bash") if "websocat" in block.text)
    command = written.text.replace("localhost:8001", f"127.0.0.1:{server.port}").strip()
    line, _, client = command.partition(" | ")
    assert re.fullmatch(r"websocat --no-close ws://\S+", client)
    if program != "websocat":
        # An interactive client ends with its input.
        line, client = f"({line}; sleep 60)", f"{sys.executable} -m websockets {client.split()[-1]}"
    pipeline = ["sh", "-c", f"{line} | PATH={ROOT}/.venv/bin:$PATH {client}"]
    watching = Program(pipeline, {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    try:
        watching.await_log('"event":"subscribed"')
        server.publish(event(1, "by_hand"))
        watching.await_log('"event":"workflow_event"')
    finally:
        watching.kill_group()
