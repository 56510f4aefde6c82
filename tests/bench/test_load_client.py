"""The load client against a real server: it counts what comes, and sees what does not."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.event_text import EventTexts
from bench.load import Load
from bench.load_client import LoadClient
from bench.programs import Failed
from bench.publisher import Feed, feed, publish
from tests.redis_server import RedisServer
from tests.system.stack import DEADLINE_S, Server, Stack

Start = Callable[..., LoadClient]


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(tmp_path: Path, redis_server: RedisServer) -> Iterator[Server]:
    with Stack(tmp_path, redis_server) as stack:
        stack.runbus()
        yield stack.serve()


@pytest.fixture
def stream(redis_server: RedisServer) -> Iterator[Feed]:
    with feed("stream", redis_server.port, 1_000) as stream:
        yield stream


@pytest.fixture
def start(wsload: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[LoadClient] = []

    def begin(load: Load, port: int, *, hold: bool = False) -> LoadClient:
        started.append(LoadClient(load, port, tmp_path / "errors.log", hold=hold, program=wsload))
        return started[-1]

    yield begin
    for client in started:
        client.stop()


def send(stream: Feed, *sequences: int, published_ns: int | None = None) -> None:
    """Events of topic 0 with these numbers, published now or at the time that is given."""
    texts, at = EventTexts(1, 350), published_ns or time.monotonic_ns()
    stream.send([stream.request(0, texts.text(0, sequence, at)) for sequence in sequences])


def test_every_event_is_counted_at_every_client(server: Server, stream: Feed, start: Start) -> None:
    load = Load(clients=9, topics=3, each=2, kinds=("workflow", "bot", "strategy"))
    client = start(load, server.port)
    assert client.expect("subscribed", DEADLINE_S)["ready"] == 9

    client.count(load.deliveries(0, 30))
    publish(stream, EventTexts(3, 350), topics=3, rate=0, first=0, count=30)
    counted = client.expect("counted", DEADLINE_S)

    assert counted["delivered"] == load.deliveries(0, 30) == 9 * 2 * 10
    assert (counted["missing"], counted["repeated"], counted["stray"]) == (0, 0, 0)
    assert (counted["least"], counted["most"]) == (20, 20)
    latency = counted["latency_ms"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["max"]
    assert counted["cpu_s"] > 0


def test_holes_repetitions_and_late_events_are_told_apart(server: Server, stream: Feed, start: Start) -> None:
    first = start(Load(), server.port)
    first.expect("subscribed", DEADLINE_S)
    first.count(600)
    send(stream, 0, 1, 3)
    assert first.expect("counted", DEADLINE_S)["missing"] == 200

    client = start(Load(clients=4, replay=3), server.port, hold=True)
    assert client.expect("joined", DEADLINE_S)["joined"] == 4
    client.send("subscribe")
    subscribed = client.expect("subscribed", DEADLINE_S)
    assert (subscribed["ready"], subscribed["missing"], subscribed["repeated"]) == (4, 4 * 1, 0)

    client.count(12)
    send(stream, 6, 7, 6)
    counted = client.expect("counted", DEADLINE_S)
    assert (counted["delivered"], counted["missing"], counted["repeated"]) == (12, 4 * 2, 4)

    client.count(4)
    send(stream, 8, published_ns=1)
    send(stream, 9)
    counted = client.expect("counted", DEADLINE_S)
    assert (counted["delivered"], counted["late"], counted["missing"]) == (4, 4, 0)


def test_what_never_comes_is_told_with_what_came(server: Server, stream: Feed, start: Start) -> None:
    client = start(Load(clients=2), server.port)
    client.expect("subscribed", DEADLINE_S)
    client.count(6)
    send(stream, 0, 1)
    with pytest.raises(Failed, match=r"not all clients counted within 8 s: .*'delivered': 4,"):
        client.expect("counted", 8)


def test_a_client_that_is_refused_fails_with_the_reason(server: Server, start: Start) -> None:
    client = start(Load(clients=2, kinds=("nonsense",)), server.port)
    with pytest.raises(Failed, match=r"(?s)2 clients failed.*subscribe_nonsense"):
        client.expect("subscribed", DEADLINE_S)


def test_a_server_that_does_not_listen_is_a_failure(start: Start, unused_tcp_port: int) -> None:
    client = start(Load(clients=2), unused_tcp_port)
    with pytest.raises(Failed, match="Connection refused"):
        client.expect("subscribed", DEADLINE_S)
