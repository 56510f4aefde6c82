"""Logs: the shape of a line, the same for every logger, and nothing secret in it."""

import logging
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from io import StringIO
from typing import Any

import orjson
import pytest
import structlog
from django.conf import settings
from django.test import Client, RequestFactory
from django.utils.log import configure_logging

from events.limits.rate import Rate
from events.process_name import this_process
from wsproject import logs
from wsproject.logs import NAME_RATE, RefusedRequests, Sparing, _console, logging_config


class Output:
    """What was logged since the last look."""

    def __init__(self) -> None:
        self.stream = StringIO()

    def text(self) -> str:
        text = self.stream.getvalue()
        self.stream.truncate(0)
        self.stream.seek(0)
        return text

    def entry(self) -> dict[str, Any]:
        (line,) = self.text().splitlines()
        entry: dict[str, Any] = orjson.loads(line)
        return entry


def logging_to(output: Output, kind: str, level: str = "INFO") -> None:
    config = logging_config(kind, level)
    config["handlers"]["stderr"]["stream"] = output.stream
    configure_logging("wsproject.logs.configure", config)


@pytest.fixture
def json_logs() -> Iterator[Output]:
    output = Output()
    logging_to(output, "json")
    yield output
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)


@pytest.fixture
def timeless_logs() -> Iterator[Output]:
    """As `json_logs`, while no time passes for the rates: a slow machine must not be allowed more lines."""
    output = Output()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "RefusedRequests", partial(RefusedRequests, clock=lambda: 0.0))
        patch.setattr(logs, "Sparing", partial(Sparing, clock=lambda: 0.0))
        logging_to(output, "json")
    yield output
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)


def test_a_line_has_the_shape_of_the_guide(json_logs: Output) -> None:
    structlog.get_logger("events").info("client_connected", sid="abc123", total_connections=127)
    line = json_logs.text()
    entry = orjson.loads(line)
    assert list(entry) == ["timestamp", "level", "event", "sid", "total_connections", "process"]
    assert '"level":"info","event":"client_connected","sid":"abc123","total_connections":127,"process":' in line
    assert entry["process"].startswith(f"{socket.gethostname()}:{os.getpid()}")
    assert len(entry["timestamp"]) == len("2026-01-24T10:00:00.000Z")
    assert datetime.fromisoformat(entry["timestamp"]).tzinfo is not None
    assert entry["timestamp"].endswith("Z")


@pytest.mark.parametrize("name", ["django.request", "django.server", "daphne.server", "some.library"])
def test_other_loggers_write_the_same_lines(json_logs: Output, name: str) -> None:
    logging.getLogger(name).warning("went %s", "wrong", extra={"request": object()})
    entry = json_logs.entry()
    assert (entry["level"], entry["event"], entry["logger"]) == ("warning", "went wrong", name)


@pytest.mark.parametrize(
    ("path", "code", "lines"), [("/health", 503, 0), ("/health/ready", 503, 0), ("/health", 500, 1), ("/x", 503, 1)]
)
def test_probes_that_hear_of_trouble_are_no_errors(json_logs: Output, path: str, code: int, lines: int) -> None:
    request = RequestFactory().get(path)
    logging.getLogger("django.request").error("it failed", extra={"status_code": code, "request": request})
    assert len(json_logs.text().splitlines()) == lines


def test_a_failure_is_one_line_with_its_traceback(json_logs: Output) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger("events").exception("task_failed", task="hub")
    entry = json_logs.entry()
    assert entry["event"] == "task_failed"
    assert entry["exception"].endswith("ValueError: no")


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("x", {"token": "hunter2"}),
        ("x", {"Authorization": "Bearer hunter2"}),
        ("x", {"url": "redis://:hunter2@host/0"}),
        ("cannot reach rediss://user:hunter2@host:6379/0", {}),
        ("GET /ws/events?token=hunter2&a=1", {}),
        ("refused: Authorization: Bearer hunter2", {}),
        ("x", {"reason": f"wst_0123456789abcdef_hunter2{'x' * 36}"}),
        ("x", {"reason": "eyJhbGciOiJI.eyJhunter2.hunter2"}),
    ],
)
def test_secrets_are_hidden(json_logs: Output, event: str, fields: dict[str, str]) -> None:
    structlog.get_logger("events").info(event, **fields)
    text = json_logs.text()
    assert "hunter2" not in text
    assert "***" in text


def test_values_without_a_json_form_are_written_as_text(json_logs: Output) -> None:
    structlog.get_logger("events").info("odd", value={1, 2}, big=2**70, bad="\ud800")
    assert json_logs.entry()["event"] == "odd"


def test_the_level_decides(json_logs: Output) -> None:
    structlog.get_logger("events").debug("detail")
    assert json_logs.text() == ""


def test_development_is_readable() -> None:
    output = Output()
    logging_to(output, "console")
    try:
        structlog.get_logger("events").info("client_connected", sid="abc123", token="hunter2")
    finally:
        configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    text = output.text()
    assert "client_connected" in text
    assert "sid=abc123" in text
    assert f"process={this_process}" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("level", ["debug", "info", "warning", "exception", "critical"])
def test_development_lines_are_those_of_structlog_without_colors(level: str) -> None:
    entry = {
        "timestamp": "2026-01-01T00:00:00.000Z", "level": level, "event": "client_connected", "logger": "events", "sid": "abc",
        "reason": "it's \"over\"", "path": "a=b", "empty": "", "number": 7, "pair": ("a", None), "tab": "a\tb", "line": "a\nb",
    }  # fmt: skip
    structlogs_own = structlog.dev.ConsoleRenderer(colors=False)
    assert _console(colors=False)(None, "", dict(entry)) == structlogs_own(None, "", dict(entry))


def test_a_terminal_is_given_no_orders() -> None:
    output = Output()
    logging_to(output, "console")
    try:
        structlog.get_logger("events").info("x\x1b[2K", topic="bot:\x1b]0;title\x07", id="a\u202eb", line="1\n2 [error] no\r")
        one_line = output.text()
        try:
            raise ValueError("bot:\x1b]0;title\x07 at redis://:hunter2@redis")
        except ValueError:
            structlog.get_logger("events").exception("failed")
    finally:
        configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
    traceback = output.text()
    assert "ValueError" in traceback
    assert "hunter2" not in traceback
    for text in (one_line, traceback):
        assert not set("\x1b\x07\r\u202e") & set(text)
        assert r"\x1b]0;title\x07" in text
    assert len(one_line.splitlines()) == 1


def test_too_many_entries_of_one_name_are_left_out_and_counted() -> None:
    now = 0.0
    sparing = Sparing(Rate(per_s=1, burst=2), lambda: now)
    for _ in range(2):
        assert sparing(None, "info", {"event": "client_connected"}) == {"event": "client_connected"}
    for _ in range(3):
        with pytest.raises(structlog.DropEvent):
            sparing(None, "info", {"event": "client_connected"})
    assert sparing(None, "warning", {"event": "client_connected"}), "what may be wrong is always written"
    assert sparing(None, "info", {"event": "client_gone"}) == {"event": "client_gone"}
    now = 1.0
    assert sparing(None, "info", {"event": "client_connected"})["left_out"] == 3
    now = 2.0
    assert "left_out" not in sparing(None, "info", {"event": "client_connected"})


def test_requests_that_are_refused_cost_one_line_and_not_more_than_some(timeless_logs: Output) -> None:
    client = Client()
    burst = int(NAME_RATE.burst)
    for _ in range(burst + 10):
        client.get("/status", HTTP_HOST="evil.example.com, localhost")
    lines = timeless_logs.text().splitlines()
    assert len(lines) == burst
    for entry in map(orjson.loads, lines):
        assert (entry["level"], entry["logger"]) == ("warning", "django.security.DisallowedHost")
        assert "exception" not in entry


def test_what_was_left_out_of_refused_requests_is_told_and_errors_never_are() -> None:
    now = 0.0
    filtering = RefusedRequests(Rate(per_s=1, burst=1), lambda: now)

    def record(status: int) -> logging.LogRecord:
        made = logging.LogRecord("django.request", logging.WARNING, __file__, 1, "%s: %s", ("Not Found", "/x"), None)
        made.status_code = status
        return made

    assert [filtering.filter(record(404)) for _ in range(3)] == [True, False, False]
    assert all(filtering.filter(record(500)) for _ in range(3))
    now = 1.0
    told = record(404)
    assert filtering.filter(told)
    assert told.getMessage() == "Not Found: /x (left out: 2)"


def test_entries_are_spared_where_they_are_logged(timeless_logs: Output) -> None:
    log = structlog.get_logger("events")
    for _ in range(int(NAME_RATE.burst) + 10):
        log.info("flood")
    assert len(timeless_logs.text().splitlines()) == NAME_RATE.burst
