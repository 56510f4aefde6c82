"""What the publisher makes and sends."""

import socket
import threading
from collections.abc import Iterator

import pytest

from bench.event_text import EventTexts
from bench.load import Load
from bench.publisher import feed
from events.domain.event import EventLimits, parse_event


@pytest.mark.parametrize("size", [350, 1_024, 65_536])
def test_an_event_has_its_size_and_is_one_of_three_topics(size: int) -> None:
    event = EventTexts(3, size).text(2, 100, 1_234_567_890_123)
    assert abs(len(event) - size) < 4
    assert parse_event(event, EventLimits()).topics == ("all", "workflow:wf_2", "bot:bot_2", "strategy:strategy_2")


def test_a_small_event_is_the_smallest_there_is() -> None:
    event = EventTexts(1, 100).text(0, 100, 1_234_567_890_123)
    assert len(event) < 120
    assert parse_event(event, EventLimits()).topics == ("all", "workflow:wf_0")


@pytest.mark.parametrize("load", [Load(), Load(clients=7, topics=3, each=2), Load(clients=2, topics=5)])
def test_the_expected_deliveries_are_those_of_the_subscriptions(load: Load) -> None:
    subscribed = [(client * load.each + place) % load.topics for client in range(load.clients) for place in range(load.each)]
    for first in range(4):
        for count in range(12):
            published = [(first + place) % load.topics for place in range(count)]
            assert load.deliveries(first, count) == sum(subscribed.count(topic) for topic in published)


@pytest.fixture
def http_port() -> Iterator[int]:
    """A server that answers two pipelined requests, in pieces that end in the middle of things."""
    answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nHTTP"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                for piece in (answer[:5], answer[5:30], answer[30:] + answer[:9], answer[9:]):
                    connection.sendall(piece)
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_answers_over_http_are_counted_one_by_one(http_port: int) -> None:
    with feed("http", http_port, 0) as http:
        http.send([http.request(0, b"{}"), http.request(1, b"{}")])
        with pytest.raises(ValueError, match="403 Forbidden"):
            http.send([http.request(0, b"{}")])
