"""Publishes events at a steady rate: `python -m bench.publisher --to stream --port 6379 --rate 1000 --count 5000`.

Three ways: to the Redis Stream, to the Redis pub/sub channel, and over HTTP to nchan. Written on bare sockets, because it
shares a core with the load client: what it costs must not show in what is measured. Prints one JSON object at the end:

    sent      events
    seconds   from the first to the last
    late_ms   how late the latest one was
    cpu_s     of this process
"""

import argparse
import json
import re
import socket
import time
from abc import ABC, abstractmethod
from typing import Self

import hiredis

from bench.event_text import EventTexts

BUS_NAME = b"workflow_events"


class Feed(ABC):
    """A connection that takes events in batches and confirms each."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, requests: list[bytes]) -> None:
        """Returns when all are confirmed. Raises `ValueError` when one is refused."""
        self._socket.sendall(b"".join(requests))
        confirmed = 0
        while confirmed < len(requests):
            received = self._socket.recv(1 << 20)
            if not received:
                raise ValueError("the connection was ended")
            confirmed += self._confirmed(received)

    @abstractmethod
    def request(self, topic: int, event: bytes) -> bytes: ...

    @abstractmethod
    def _confirmed(self, received: bytes) -> int:
        """How many requests these bytes confirm."""


class RedisFeed(Feed):
    def __init__(self, port: int, command: tuple[bytes, ...]) -> None:
        super().__init__(port)
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command)
        self._head = b"*%d\r\n%s" % (len(command) + 1, parts)
        self._replies = hiredis.Reader()

    def request(self, topic: int, event: bytes) -> bytes:
        return b"%s$%d\r\n%s\r\n" % (self._head, len(event), event)

    def _confirmed(self, received: bytes) -> int:
        self._replies.feed(received)
        count = 0
        while (reply := self._replies.gets()) is not False:
            if isinstance(reply, Exception):
                raise ValueError(str(reply))
            count += 1
        return count


class HttpFeed(Feed):
    """nchan: one path per topic. Requests of one batch are pipelined."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._pending = b""

    def request(self, topic: int, event: bytes) -> bytes:
        return b"POST /pub/wf_%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (topic, len(event), event)

    def _confirmed(self, received: bytes) -> int:
        self._pending += received
        count = 0
        while (end := self._end_of_answer()) is not None:
            if not self._pending.startswith(b"HTTP/1.1 20"):
                raise ValueError(self._pending[:end].decode(errors="replace"))
            self._pending = self._pending[end:]
            count += 1
        return count

    def _end_of_answer(self) -> int | None:
        """Where the first answer ends; None while it is not whole."""
        head, found, _ = self._pending.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        end = len(head) + 4 + (int(length[1]) if length else 0)
        return end if found and len(self._pending) >= end else None


def feed(kind: str, port: int, max_length: int) -> Feed:
    """`kind` is stream, channel or http. The stream is cut to about `max_length` events; 0 for never."""
    if kind == "http":
        return HttpFeed(port)
    if kind == "channel":
        return RedisFeed(port, (b"PUBLISH", BUS_NAME))
    cut = (b"MAXLEN", b"~", b"%d" % max_length) if max_length else ()
    return RedisFeed(port, (b"XADD", BUS_NAME, *cut, b"*", b"event"))


def publish(to: Feed, texts: EventTexts, topics: int, rate: float, first: int, count: int) -> dict[str, float]:
    """`count` events at `rate` per second (0: as fast as they are taken), the first of which has the number `first`."""
    began = time.perf_counter()
    sent, late = 0, 0.0
    while sent < count:
        elapsed = time.perf_counter() - began
        due = min(count, int(elapsed * rate) + 1) if rate else count
        if due <= sent:
            time.sleep(sent / rate - elapsed)
            continue
        late = max(late, elapsed - sent / rate) if rate else 0.0
        numbers = range(first + sent, first + min(due, sent + 500))
        to.send([to.request(n % topics, texts.text(n % topics, n // topics, time.monotonic_ns())) for n in numbers])
        sent += len(numbers)
    return {"sent": sent, "seconds": time.perf_counter() - began, "late_ms": late * 1e3, "cpu_s": time.process_time()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.publisher")
    parser.add_argument("--to", choices=("stream", "channel", "http"), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--topics", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=350)
    parser.add_argument("--max-length", type=int, default=100_000)
    given = parser.parse_args()
    texts = EventTexts(given.topics, given.bytes)
    with feed(given.to, given.port, given.max_length) as to:
        print(json.dumps(publish(to, texts, given.topics, given.rate, given.first, given.count)))


if __name__ == "__main__":
    main()
