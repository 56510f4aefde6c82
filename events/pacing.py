"""Short turns of the event loop, whatever clients send.

An event passes several turns of the loop on its way from Redis to the sockets, and in each of them asyncio's own loop reads
everybody who has sent something. A thousand clients that send at once would make each of these turns as long as all of their
messages take, and an event late by several times that. So each turn reads clients for a moment only; who was not reached is
read in the turns after it. Nothing waits while there is little to do. (Commands have turns of their own: `events.turns`.)

In a loop in which clients come last (`events.clients_last`) the line of these keeps turns short. What is left to do here is to
let those wait that only come, and those that keep the loop busy; and to let a poll go first that follows an answer with events.
"""

import asyncio
import time
from collections import deque
from functools import cached_property
from typing import Any, Final

from twisted.internet.tcp import Server

from events.clients_last import AS_CLIENT, delivering, has_line
from events.pipes import backlog
from events.tcp_door import TurnedAway
from events.turns import places
from events.untaken import in_system

#: How long clients are read in one turn of the loop. A read that has begun is finished: a handshake takes 1 to 2 ms.
READ_S: Final = 0.001

#: How long when many wait: of those, an eighth is read in a turn, so that nobody waits much longer than eight turns. What is
#: done with what was read takes several times as long.
MOST_S: Final = 0.002
SHARE: Final = 8

#: Bytes of one read: so many that it takes about half of `READ_S`. Of commands, 2 KB take more than that; of a body, much less.
LEAST_BYTES: Final = 2_048
MOST_BYTES: Final = 16_384

#: New connections that are taken at a time.
ACCEPTS: Final = 8

#: A connection may keep the loop busy for so long at once, and for this share of the time.
BUSY_S: Final = 0.05
BUSY_SHARE: Final = 0.05


class ReadingTurns:
    """Which connections are read in this turn of the loop: those that are there first come first served, and a few of
    those that have only come or of those that keep the loop busy: as many as commands begin in a turn."""

    def __init__(self) -> None:
        self._spent_s = 0.0
        self._waiting: deque[PacedConnection] = deque()
        # These two take turns.
        self._new: deque[PacedConnection] = deque()
        self._busy: deque[PacedConnection] = deque()
        self._others = (self._new, self._busy)
        self._turning = False

    @cached_property
    def _in_line(self) -> bool:
        """Whether clients stand in the loop's line. It is asked for each read, and to ask which loop runs is a system call."""
        return has_line()

    @property
    def over(self) -> bool:
        """Whether this turn has no time left, or others wait."""
        return self._spent_s >= READ_S or bool(self._waiting)

    def wait(self, connection: "PacedConnection") -> None:
        """Have it read in one of the next turns."""
        if connection.new:
            self._new.append(connection)
        elif connection.busy:
            self._busy.append(connection)
        else:
            self._waiting.append(connection)
        self._go_on()

    def defers(self, connection: "PacedConnection") -> bool:
        """Whether one that has sent something has to wait. In a loop with a line for clients, those that are there stand in
        that already, and it sees to it that turns are short."""
        if self._in_line:
            return connection.busy or (connection.new and bool(self._new))
        return self.over or connection.busy

    def spent(self, seconds: float) -> None:
        """A read took so long."""
        self._spent_s += seconds
        if not self._in_line:
            self._go_on()

    def _go_on(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        """What the loop calls soon, it calls in its next turn, before it looks who else has sent something."""
        self._turning = False
        self._spent_s = 0.0
        enough = len(self._waiting) * (SHARE - 1) // SHARE
        while self._waiting and self._spent_s < (MOST_S if len(self._waiting) > enough else READ_S):
            self._waiting.popleft().read_on()
        self._read_others()
        if self._waiting or self._new or self._busy:
            self._go_on()

    def _read_others(self) -> None:
        first, second = self._others
        self._others = (second, first)
        others = first or second
        for place in range(min(len(others), places(len(others)))):
            if place and self._spent_s >= MOST_S:
                break
            others.popleft().read_on()


class PacedConnection(Server):
    """A TCP connection that is read when its turn has come."""

    bufferSize = LEAST_BYTES
    #: Whether nothing has been read of it yet: what comes first is a handshake or a request, and takes a millisecond or two.
    new = True
    # How long its last reads took, less what it may take; and when that was.
    _debt_s = 0.0
    _read_at = 0.0
    # Its reader wants to go on; it waits for its turn; its turn has come.
    _wanted = False
    _held = False
    _due = False
    # It was read once, without having been asked whether there is something to read.
    _tried = False
    # The last read took all that it could.
    _filled = False
    # It has been sent events, and what comes next should ask for more of them; that is being read, and nothing of it was taken.
    _polls = False
    _first = False

    @property
    def _factory(self) -> Any:
        return self.server.factory

    @property
    def _turns(self) -> ReadingTurns:
        turns: ReadingTurns = self._factory.turns
        return turns

    @property
    def busy(self) -> bool:
        """Whether it has lately kept the loop busy for longer than it may."""
        return self._debt_s - (time.monotonic() - self._read_at) * BUSY_SHARE > BUSY_S

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the other end has not taken."""
        return backlog(self) + in_system(self.socket)

    def connectionLost(self, reason: Any) -> None:
        # It may be told twice, and has no socket the second time.
        if hasattr(self, "socket") and not isinstance(self.protocol, TurnedAway):
            self._factory.door.leave(self.client[0])
        began = time.thread_time()
        super().connectionLost(reason)
        # What follows from an end takes longer than the read that found it.
        self._turns.spent(time.thread_time() - began)

    def startReading(self) -> None:
        self._wanted = True
        if self.new and not self._tried:
            # Nearly always its request is there by now: it is read before the loop is asked to tell of it.
            self._tried = True
            self._hold()
        elif not (self._held or self._due):
            self._listen()

    def stopReading(self) -> None:
        self._wanted = False
        super().stopReading()

    def answered_poll(self) -> None:
        """It has been sent events, in answer to a request. It has to ask for the next ones: an event that waits for this waits
        for a client, so the next read, and only that one, is part of the delivery."""
        if self.connected:
            # What was written leaves now, and not in the loop's next turn.
            self.reactor._readOrWrite(self, False)
        self._listen_for_poll(True)

    def goes_first(self) -> bool:
        """Whether a request that asks for events is the one that was expected. There is one for each answer: those that come
        with it wait in the line."""
        first, self._first = self._first, False
        return first

    def _listen_for_poll(self, expected: bool) -> None:
        self._polls = expected
        if self.connected and self._wanted and not (self._held or self._due):
            super().stopReading()
            self._listen()

    def doRead(self) -> Any:
        if self._polls:
            # This read happens as part of a delivery, and stays that.
            self._listen_for_poll(False)
            self._first = True
            try:
                return self._read()
            finally:
                self._first = False
        if self._due or not self._turns.defers(self):
            return self._read()
        super().stopReading()
        self._hold()
        return None

    def _hold(self) -> None:
        self._held = True
        self._turns.wait(self)

    def _listen(self) -> None:
        """Have the loop tell when there is something to read."""
        if self._polls:
            with delivering():
                super().startReading()
        else:
            AS_CLIENT.run(super().startReading)

    def _dataReceived(self, data: bytes | None) -> Any:
        self.new = False
        self._filled = len(data or b"") == self.bufferSize
        return super()._dataReceived(data)

    def read_on(self) -> None:
        """Its turn has come. It may have been closed meanwhile, or its reader may want no more for now."""
        self._held = False
        if self.connected and self._wanted:
            self._due, self._polls = True, False
            # What the reactor does with a connection that has something to read, errors included.
            self.reactor._readOrWrite(self, True)
            self._due = False
            # Its reader may have stopped and started several times, which then costs nothing.
            if self.connected and self._wanted:
                self._listen()

    def _read(self) -> Any:
        # Of this thread: what others make it wait is not this connection's doing.
        began = time.thread_time()
        try:
            return super().doRead()
        finally:
            seconds, now = time.thread_time() - began, time.monotonic()
            self._debt_s = max(0.0, self._debt_s - (now - self._read_at) * BUSY_SHARE) + seconds
            self._read_at = now
            self._size_next(seconds)
            self._turns.spent(seconds)

    def _size_next(self, seconds: float) -> None:
        """Choose the size of the next read by how long this one took."""
        if seconds > READ_S:
            self.bufferSize = LEAST_BYTES
        elif self._filled and seconds < READ_S / 4:
            self.bufferSize = min(MOST_BYTES, 2 * self.bufferSize)


def accept_few(port: Any) -> None:
    """Have a listening port (Twisted's) take a few new connections at a time, when clients have their turn. It would take a
    hundred at once, and what is prepared for each takes a fifth of a millisecond."""
    accept = port.doRead

    def read() -> Any:
        port.numberAccepts = ACCEPTS
        return accept()

    port.doRead = read
    port.stopReading()
    AS_CLIENT.run(port.startReading)
