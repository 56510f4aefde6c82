"""HTTP connections on which something was written that the other end does not take."""

import fcntl
import socket
import struct
import termios
import time
from typing import Any


def in_system(connection: socket.socket) -> int:
    """Bytes that the system has of what was sent, and that the other end has not confirmed. 0 where it does not say."""
    try:
        found: int = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    except OSError:
        return 0
    return found


class Untaken:
    """The connections that have been told to wait, or have been ended, while something of theirs is unsent; and for how long
    nothing of it was taken.

    patience_s: who takes nothing for so long is to be cut
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        #: What was unsent when something was last taken, and when that was.
        self._seen: dict[Any, tuple[int, float]] = {}

    def watch(self, channel: Any) -> None:
        """From now on. `channel` has a `PacedConnection` as its transport."""
        self._seen[channel] = (channel.transport.unsent, time.monotonic())

    def forget(self, channel: Any) -> None:
        self._seen.pop(channel, None)

    def overdue(self) -> list[Any]:
        """Those that take nothing. To be called now and then: only what is seen here counts as taken."""
        now, overdue = time.monotonic(), []
        for channel, (before, since) in list(self._seen.items()):
            unsent = channel.transport.unsent
            if unsent < before:
                self._seen[channel] = (unsent, now)
            elif now - since > self._patience_s:
                overdue.append(channel)
        return overdue
