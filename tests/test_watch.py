"""`manage.py watch`: against a real server, in a real terminal, in a pipe, and as JSON."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from events.watch.board import MAX_EXECUTIONS, Board
from events.watch.lines import event_line
from events.watch.screens import LINES, Terminal
from events.watch.view import view
from tests.redis_server import free_port
from tests.system.event_data import event
from tests.system.stack import Program, Server, Stack
from workflow_events import Connected, Disconnected, Event, Missed, Snapshot

TOKEN = "a-token-of-32-characters-or-more"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("watched"), WS_AUTH_TOKEN=TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def server(stack: Stack) -> Server:
    return stack.serve()


@pytest.fixture
def watch(stack: Stack, server: Server) -> Iterator[Callable[..., Program]]:
    """A watch that has got the event `here`, as in a pipe. Ends as by Ctrl-C."""
    started: list[Program] = []

    def start(*arguments: str) -> Program:
        program = stack.manage("watch", "--url", server.url, *arguments)
        started.append(program)
        program.await_log("connected")
        return program

    yield start
    for program in started:
        program.signal(signal.SIGINT)
        assert program.wait() == 0
        assert "Traceback" not in program.log


def run_events(execution: str) -> list[dict[str, Any]]:
    common = {"execution_id": execution, "workflow_id": "arb", "bot_id": "bot", "timestamp": "2026-01-24T10:00:00.045Z"}
    failure = {"error": "Connection timeout", "error_type": "TimeoutError"}
    return [
        {"type": "execution_started", **common, "node_count": 2},
        {"type": "node_started", **common, "node_id": "price", "node_name": "Price Feed"},
        {"type": "signal_generated", **common, "signal": "buy"},
        {"type": "node_failed", **common, "node_id": "price", "duration_ms": 45, **failure},
    ]


def received(number: int, fields: dict[str, Any], *, replayed: bool = False) -> Event:
    """As it comes from the server."""
    return Event({**fields, "event_id": f"epoch-{number}", "offsets": {"all": number, "workflow": number}}, replayed)


# -- the command ---------------------------------------------------------------------------------------------------------


def test_in_a_pipe_there_is_a_line_per_event(watch: Callable[..., Program], server: Server) -> None:
    program = watch("--workflow", "arb", "--bot", "bot")
    server.publish(event(1, "another"), *run_events("exec_arb"), token=TOKEN)
    program.await_log("Connection timeout")
    lines = [line for line in program.log.splitlines() if "arb" in line]
    assert lines == [
        "10:00:00.045  ▶ execution_started    arb exec_arb",
        "10:00:00.045  · node_started         arb exec_arb price",
        "10:00:00.045  ◆ signal_generated     arb exec_arb signal=buy",
        "10:00:00.045  ✕ node_failed          arb exec_arb price 45 ms TimeoutError: Connection timeout",
    ]
    assert "another" not in program.log


def test_json_is_the_event_as_it_came(watch: Callable[..., Program], server: Server) -> None:
    program = watch("--all", "--json", "--types", "json_one, json_two")
    wanted = [event(1, "w", type="json_one", text="schön\n"), event(2, "w"), event(3, "w", type="json_two")]
    server.publish(*wanted, token=TOKEN)
    program.await_log("json_two")
    got = [json.loads(line) for line in program.log.splitlines() if line.startswith("{")]
    assert [{name: item[name] for name in wanted[0] if name in item} for item in got] == [wanted[0], wanted[2]]
    assert all(item["event_id"] and item["offsets"] for item in got)


def test_a_terminal_shows_colours_and_running_executions(server: Server, tmp_path: Path) -> None:
    main, inner = pty.openpty()
    environment = {**os.environ, "ENV_FILE": "", "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    command = [sys.executable, "manage.py", "watch", "--url", server.url, "--token", TOKEN, "--workflow", "terminal"]
    process = subprocess.Popen(command, env=environment, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
    os.close(inner)
    seen = ""

    def read_until(text: str) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(main, 65_536).decode(errors="replace")

    read_until("No executions yet.")
    server.publish(*({**item, "workflow_id": "terminal"} for item in run_events("exec_t")[:3]), token=TOKEN)
    read_until("Price Feed")
    assert "\x1b[" in seen
    assert "1 running" in seen
    process.send_signal(signal.SIGINT)
    read_until("3 events, 0 missed.")
    assert process.wait(30) == 0
    os.close(main)
    assert "Traceback" not in seen
    assert seen.count("\x1b[?25h") >= seen.count("\x1b[?25l"), "the cursor is back"


def test_a_reader_that_has_had_enough_ends_it_quietly(server: Server) -> None:
    server.publish(event(1, "piped"), token=TOKEN)
    pipeline = f"{sys.executable} manage.py watch --workflow piped --url {server.url} --token {TOKEN} | head -n 1"
    with subprocess.Popen(
        ["sh", "-c", pipeline], env={**os.environ, "ENV_FILE": ""}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "piped" in process.stdout.readline()
        # The next line finds nobody.
        server.publish(event(2, "piped"), event(3, "piped"), token=TOKEN)
        _, notices = process.communicate(timeout=30)
    assert "Error" not in notices


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workflow", "w" * 300, "--url", "{url}"], "workflow_id has 300 characters"),
        (["--url", "localhost"], "url must be the server's address"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(stack: Stack, server: Server, arguments: list[str], message: str) -> None:
    program = stack.manage("watch", *(argument.format(url=server.url) for argument in arguments))
    assert program.wait() == 1
    assert message in program.log
    assert "Traceback" not in program.log


def test_a_server_that_is_not_there_is_waited_for(stack: Stack) -> None:
    program = stack.manage("watch", "--url", f"http://127.0.0.1:{free_port()}")
    program.await_log("disconnected: nobody answers; again in")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


# -- what it knows and shows ---------------------------------------------------------------------------------------------


def board_after(*items: Any) -> Board:
    board = Board()
    for item in items:
        board.take(item)
    return board


def test_a_snapshot_and_events_make_the_executions() -> None:
    started, node, *_ = run_events("exec_1")
    known = board_after(received(1, started), received(2, node))
    (state,) = known.running
    later = {"type": "execution_completed", "execution_id": "exec_1", "workflow_id": "arb", "timestamp": "2026-01-24T10:00:01Z"}
    board = board_after(Snapshot("all", "epoch", 2, (state.to_dict(),)), received(2, node, replayed=True), received(3, later))
    assert board.running == []
    (ended,) = board.ended(5)
    assert (ended.status, ended.events, list(ended.nodes)) == ("completed", 3, ["price"])
    assert (board.events, board.missed) == (2, 0)


def test_the_board_is_bounded_and_forgets_what_was_silent_for_longest() -> None:
    starts = [run_events(f"exec_{number}")[0] for number in range(MAX_EXECUTIONS + 5)]
    board = board_after(*(received(number, fields) for number, fields in enumerate(starts, 1)))
    assert {execution.execution_id for execution in board.running} == {f"exec_{n}" for n in range(5, MAX_EXECUTIONS + 5)}


def test_a_lost_history_begins_the_board_anew() -> None:
    gap = Missed("all", None, None, None, "history_lost", {})
    board = board_after(received(900, run_events("old")[0]), gap, received(1, run_events("new")[0]))
    assert [execution.execution_id for execution in board.running] == ["new"]


def drawn(board: Board) -> str:
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as capture:
        console.print(view(board, "http://x", "all"))
    return capture.get()


def test_the_view_tells_connection_progress_and_errors() -> None:
    board = board_after(Connected("sid"), *(received(number, item) for number, item in enumerate(run_events("exec_1"), 1)))
    text = drawn(board)
    assert "connected" in text
    assert "1/2" in text
    assert "Connection timeout" in text
    board.take(Disconnected("nobody answers", 1.0))
    assert "nobody answers" in drawn(board)


def test_texts_of_events_cannot_steer_the_terminal() -> None:
    evil = received(1, {**run_events("exec_1")[3], "error": "\x1b]0;title\x07\x1b[2J[red]x", "workflow_id": "\u009b31m"})
    assert not set("\x1b\x07\u009b") & set(event_line(evil).plain)
    assert "[red]x" in event_line(evil).plain
    assert not set("\x07\u009b") & set(drawn(board_after(evil)))


def test_more_lines_than_one_can_read_are_counted() -> None:
    now = [1000.0]
    output = io.StringIO()
    with Terminal(Console(file=output, width=120), "http://x", "all", lambda: now[0]) as screen:
        for number in range(1, 101):
            screen.show(received(number, run_events("exec_1")[0]))
        now[0] += 1
        screen.tick()
    assert output.getvalue().count("execution_started") == LINES
    assert f"… and {100 - LINES} more" in output.getvalue()
