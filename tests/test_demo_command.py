"""`manage.py demo`: every way out of it, and what it says."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import orjson
import pytest
import redis

from events.demo.outlets import HttpOutlet, RefusedError
from events.demo.progress import LINES_PER_S, Progress
from events.domain.event import EventLimits, encode_event, parse_event
from events.ports import Unavailable
from tests.conftest import manage
from tests.redis_server import RedisServer, free_port


class Receiver(ThreadingHTTPServer):
    """Takes what is posted to it, and answers `status` with `answer`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.answer = 202, b"{}"
        self.bodies: list[bytes] = []
        self.tokens: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/api/events"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.append(self.headers["Authorization"])
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Tests stay quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_publishes_to_a_server_over_http(receiver: Receiver) -> None:
    result = manage(
        "demo", "--runs", "2", "--rate", "100", "--seed", "1", "--url", receiver.url, "--token", "t0ken", REDIS_URL=""
    )
    assert result.returncode == 0, result.stderr
    events = [event for body in receiver.bodies for event in orjson.loads(body)]
    assert [event["type"] for event in events].count("execution_completed") == 2
    assert set(receiver.tokens) == {"Bearer t0ken"}
    assert result.stdout.splitlines()[-1].startswith(f"{len(events)} events in ")
    assert "2 runs ended" in result.stdout


def test_it_publishes_to_the_stream_where_there_is_a_redis() -> None:
    with RedisServer() as server:
        result = manage("demo", "--runs", "2", "--rate", "100", REDIS_URL=server.url)
        assert result.returncode == 0, result.stderr
        with redis.Redis.from_url(server.url) as client:
            entries = client.xrange("workflow_events")
    documents = [fields[b"event"] for _, fields in entries]
    assert all(parse_event(document, EventLimits()) for document in documents)
    assert sum(b'"execution_completed"' in document for document in documents) == 2


def test_pubsub_without_a_listener_is_an_error() -> None:
    with RedisServer() as server:
        result = manage("demo", "--runs", "1", "--to", "pubsub", REDIS_URL=server.url)
    assert result.returncode == 1
    assert "Nobody listens on the Redis pub/sub channel workflow_events" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "stream"], "--to stream needs REDIS_URL"),
        (["--url", "nonsense"], "--url: nonsense is not an http:// or https:// address."),
        (["--rate", "0"], "0 is not above 0"),
        (["--rate", "nan"], "nan is not above 0"),
        (["--runs", "many"], "'many' is not a number"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments: list[str], message: str) -> None:
    result = manage("demo", *arguments, REDIS_URL="")
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]


def test_a_server_that_is_not_there_is_named_with_the_mend() -> None:
    url = f"http://127.0.0.1:{free_port()}/api/events"
    result = manage("demo", "--url", url, REDIS_URL="")
    assert result.returncode == 1
    assert result.stderr == f"CommandError: Nothing answers at {url}: start the server with `make run`.\n"


@pytest.mark.parametrize(
    ("status", "answer", "error", "message"),
    [
        (401, b'{"message": "A token is required."}', RefusedError, "wants a token"),
        (400, b'{"message": "The body is empty."}', RefusedError, "answers 400: The body is empty."),
        (404, b"<h1>Not\nFound</h1>", RefusedError, "answers 404: <h1>Not Found</h1>"),
        (503, b'{"message": "No bus."}', Unavailable, "answers 503: No bus."),
    ],
)
def test_what_the_server_answers_is_told(
    receiver: Receiver, status: int, answer: bytes, error: type[Exception], message: str
) -> None:
    receiver.status, receiver.answer = status, answer
    with pytest.raises(error, match=message):
        asyncio.run(HttpOutlet(receiver.url).publish([b"{}"]))


def test_a_flood_of_runs_is_counted_instead_of_listed() -> None:
    now = 0.0
    lines: list[str] = []
    progress = Progress(lines.append, lambda: now)
    start = {"type": "execution_started", "execution_id": "e", "bot_id": "b", "strategy_id": "s"}
    for _ in range(100):
        progress.note(encode_event(start))
    assert len(lines) == LINES_PER_S
    now = 2.0
    progress.note(encode_event({"type": "execution_completed", "execution_id": "e", "status": "failed", "duration_ms": 9}))
    assert lines[-2:] == [f"  … and {100 - LINES_PER_S} more; 101 events so far", "✕ e failed after 9 ms"]
    assert progress.totals() == "101 events in 2.0 s: 1 runs ended, 1 of them failed, 99 still running."
