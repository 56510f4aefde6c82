"""Which requests stand in the line of clients, and which are part of a delivery."""

import socket
from collections.abc import Iterator

import pytest

from tests.redis_server import free_port
from tests.system.stack import DEADLINE_S, Stack

PATH = "/socket.io/?EIO=4&transport=polling"
POLL = f"GET {PATH}&sid=1"
OTHERS = (
    f"POST {PATH}&sid=1",
    f"GET {PATH}",
    f"GET {PATH}&sid=",
    f"GET {PATH}&sid=&x=1",
    f"GET {PATH}&a-sid=1",
    "GET /status",
    "GET /socket.io/?EIO=4&transport=websocket&sid=1",
)


class Connection:
    """Requests over one connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._answers = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self.socket.close()

    def ask(self, *requests: str) -> list[str]:
        """All at once."""
        self.socket.sendall("".join(f"{request} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" for request in requests).encode())
        return [self.answer() for _ in requests]

    def answer(self) -> str:
        while (line := self._answers.readline()) != b"\r\n":
            assert line, "the server has closed the connection"
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        return self._answers.read(size).decode()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    chosen = free_port()
    with Stack(tmp_path_factory.mktemp("line")) as stack:
        program = stack.run("-m", "tests.system.line_app", str(chosen))
        program.await_log("listening")
        yield chosen


@pytest.fixture
def connection(port: int) -> Iterator[Connection]:
    with Connection(port) as own:
        yield own


def test_who_was_sent_events_may_ask_for_more_out_of_turn(connection: Connection) -> None:
    assert [connection.ask(POLL) for _ in range(4)] == [["client"], ["delivery"], ["delivery"], ["delivery"]]


@pytest.mark.parametrize("other", OTHERS)
def test_whoever_asks_for_something_else_stands_in_the_line(connection: Connection, other: str) -> None:
    connection.ask(POLL)
    assert connection.ask(other) == ["client"]
    # Its answer was no delivery, so what follows is a client's again.
    assert connection.ask(POLL) == ["client"]
    assert connection.ask(POLL) == ["delivery"]


def test_a_poll_that_was_refused_was_no_delivery(connection: Connection) -> None:
    assert connection.ask(f"{POLL}&refuse") == ["client"]
    assert connection.ask(POLL) == ["client"]


def test_of_requests_that_come_at_once_only_the_first_goes_first(connection: Connection) -> None:
    connection.ask(POLL)
    assert connection.ask(POLL, POLL, f"{POLL}&refuse", "GET /status", POLL) == ["delivery", *["client"] * 4]
    assert connection.ask(POLL) == ["delivery"]
    assert connection.ask("GET /status", POLL) == ["client", "client"]


def test_a_request_that_comes_in_pieces_has_used_up_its_turn(connection: Connection) -> None:
    connection.ask(POLL)
    text = f"{POLL} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
    connection.socket.sendall(text)
    # The server reads the first piece before the second is sent: it takes another connection's request after it.
    with Connection(connection.socket.getpeername()[1]) as other:
        other.ask(POLL)
    connection.socket.sendall(b"\r\n")
    assert connection.answer() == "client"
