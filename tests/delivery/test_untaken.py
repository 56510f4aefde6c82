"""Which connections take nothing of what was written."""

import socket

from events.untaken import Untaken, in_system


class Transport:
    unsent = 100


class Channel:
    def __init__(self) -> None:
        self.transport = Transport()


def test_who_takes_something_stays_and_who_takes_nothing_does_not() -> None:
    slow, stuck, gone = Channel(), Channel(), Channel()
    # Whatever time has passed is too much.
    untaken = Untaken(-1.0)
    for channel in (slow, stuck, gone):
        untaken.watch(channel)
    untaken.forget(gone)
    slow.transport.unsent = 99
    assert untaken.overdue() == [stuck]
    assert untaken.overdue() == [slow, stuck]
    slow.transport.unsent = 98
    assert untaken.overdue() == [stuck]


def test_nobody_is_overdue_before_the_time() -> None:
    channel, untaken = Channel(), Untaken(600.0)
    untaken.watch(channel)
    assert untaken.overdue() == []


def test_what_the_system_keeps_for_one_that_does_not_read_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as reader:
        writer, _ = listener.accept()
        with writer:
            assert in_system(writer) == 0
            writer.setblocking(False)
            try:
                while True:
                    writer.send(100_000 * b"x")
            except BlockingIOError:
                before = in_system(writer)
            assert before > 0
            reader.setblocking(True)
            while in_system(writer) >= before:
                reader.recv(100_000)
