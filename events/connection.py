"""Engine.IO connections: the protocol's state machine, a clock, and the way out of the moment."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from functools import cache
from typing import Final, Literal, Protocol

import structlog

from events.alarms import GRAIN_S, Alarms
from events.fanout.session import ClientInfo
from events.fanout.wire import Pipe, WireMessage
from events.gate import Gate
from events.limits.rate import UNLIMITED, Rate, TokenBucket
from events.pipes import PollingPipe
from events.protocol.engineio import (
    BAD_REQUEST,
    Action,
    Close,
    Deliver,
    EngineConfig,
    EngineSession,
    Packet,
    PacketType,
    Send,
    encode_packet,
)
from events.protocol.errors import ProtocolError
from events.protocol.websocket import NORMAL
from events.turns import Turns

log = structlog.get_logger("events")

#: How long a client may take to finish an upgrade that it began.
UPGRADE_TIMEOUT_S = 10.0

#: Messages that may wait for the application of one connection; their bytes may be as many as one message may have.
INBOX_MESSAGES = 32

#: Why a connection is closed that goes on sending although it was told to slow down.
FLOODED = "client sends too many messages"

#: A timer that rings so late was held up by the process, not by the peer.
HELD_UP_S = 0.5


#: What nearly every client says most of the time.
_PONG: Final = encode_packet(Packet(PacketType.PONG))


@cache
def _control(frame: str) -> WireMessage:
    """A control packet, which is the same for all."""
    return WireMessage(frame.encode())


class HangUp(Protocol):
    """Ends the WebSocket below a connection, and says this in the close frame."""

    def __call__(self, code: int = NORMAL, reason: str = "") -> None: ...


class EngineApp(Protocol):
    """What runs on a connection: gets its messages in order, one at a time."""

    async def opened(self) -> None: ...

    async def message(self, data: str | bytes) -> None:
        """Raises `ProtocolError` when the peer is to be disconnected."""

    def upgraded(self) -> None:
        """The connection has a new pipe."""

    async def closed(self, reason: str) -> None: ...


class _Gone:
    """The application of a connection that is over. The one before would stay with the connection, as each knows the other,
    until the garbage collector comes, which it does rarely (`events.collector`)."""

    async def opened(self) -> None: ...

    async def message(self, data: str | bytes) -> None: ...

    def upgraded(self) -> None: ...

    async def closed(self, reason: str) -> None: ...


_GONE: Final = _Gone()


class EngineConnection:
    """One Engine.IO session and its transport: a WebSocket, or long-polling until it is upgraded to one."""

    # There is one for each client, and nearly all of them are idle.
    __slots__ = (
        "_cancel_probe",
        "_ended",
        "_endpoint",
        "_flood",
        "_hang_up",
        "_inbox",
        "_inbox_size",
        "_polling",
        "_room",
        "_upgrade_timer",
        "_worker",
        "alarm",
        "app",
        "client",
        "client_sid",
        "pipe",
        "session",
        "unknown_since",
    )

    def __init__(self, endpoint: "EngineEndpoint", session: EngineSession, pipe: Pipe, client: ClientInfo) -> None:
        self._endpoint = endpoint
        self.alarm = 0
        #: What waits for the application, while anything does; and what is waited for while that is too much.
        self._inbox: list[str | bytes] | None = None
        self._inbox_size = 0
        self._room: asyncio.Event | None = None
        self._worker: asyncio.Task[None] | None = None
        self._hang_up: HangUp | None = None
        self._polling = False
        self._ended = False
        self._upgrade_timer: asyncio.TimerHandle | None = None
        self._cancel_probe: Callable[[], None] | None = None
        self.session = session
        self.pipe = pipe
        self.client = client
        #: By which clients, operators and the log know who this is; empty until the client has said what it wants. (Engine.IO's
        #: own id is the key to a long-polling session.)
        self.client_sid = ""
        #: By the monotonic clock. One who comes and goes on it without saying who he is does not put it off.
        self.unknown_since = time.monotonic()
        self._flood = TokenBucket(endpoint.flood)
        self.app: EngineApp = endpoint.make_app(self)

    @property
    def sid(self) -> str:
        return self.session.sid

    @property
    def closed(self) -> bool:
        return self._ended

    # -- in and out -----------------------------------------------------------------------------------------------------

    def send(self, data: str | bytes) -> None:
        """Send one message to the peer."""
        if isinstance(data, bytes):
            self.pipe.write_binary(data)
        else:
            self.pipe.write(WireMessage(b"4" + data.encode()))

    async def receive(self, packet: Packet) -> None:
        """Take one packet from the peer. What it breaks ends this connection and nothing else.

        Messages wait for the application in an inbox, so that heartbeats are heard while it is busy. Returns when the inbox
        has room again, so that the caller reads no faster than the application works.
        """
        self._take(packet)
        if self._room is not None:
            await self._room.wait()

    def hear(self, frame: str | bytes) -> bool:
        """Take a pong at once, past messages that wait to be read; False for anything else. With many clients most of what
        comes is pongs, and to wake a task for each takes three times as long as all else that is done about it."""
        if frame != _PONG:
            return False
        self._take(Packet(PacketType.PONG))
        return True

    def _take(self, packet: Packet) -> None:
        if self.closed:
            return
        now = self._endpoint.now()
        if self._flood.take(now):
            self._endpoint.gate.count("flood")
            self._endpoint.gate.offended(self.client.address)
            self.close(FLOODED)
            return
        try:
            self._act(self.session.receive(packet, now))
        except ProtocolError as error:
            self.fail(error)
        self._schedule()

    def fail(self, error: ProtocolError, code: int = NORMAL) -> None:
        """The peer broke the protocol. What it sent behind that, before it could hear of its end, breaks nothing any more. With
        a close code of its own it is told what was wrong."""
        if self.closed:
            return
        log.info("protocol_error", sid=self.client_sid, reason=str(error))
        self._endpoint.gate.offended(self.client.address)
        self.close("parse error", code=code, told="" if code == NORMAL else str(error))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Deliver(data):
                    self._deliver(data)
                case Send(frame):
                    self.pipe.write(_control(frame))
                case Close(reason):
                    # The peer ended it: an open poll is answered with a NOOP.
                    self.close(reason, farewell="6")

    def _deliver(self, data: str | bytes) -> None:
        if self._inbox is None:
            self._inbox = []
        self._inbox.append(data)
        self._inbox_size += len(data)
        full = len(self._inbox) >= INBOX_MESSAGES or self._inbox_size >= self._endpoint.config.max_payload_bytes
        if full and self._room is None:
            self._room = asyncio.Event()
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work(self._inbox))

    async def _work(self, inbox: list[str | bytes]) -> None:
        """Hand messages to the application, one at a time."""
        try:
            while inbox:
                # To read a message takes as long as many a command does.
                await self._endpoint.turns.take()
                if self.closed:
                    return
                data = inbox.pop(0)
                await self.app.message(data)
                self._inbox_size -= len(data)
                if len(inbox) < INBOX_MESSAGES // 2:
                    self._make_room()
        except ProtocolError as error:
            self.fail(error)
        except Exception:
            log.exception("message_failed", sid=self.client_sid)
            self.close("server error")
        finally:
            self._worker = self._inbox = None
            self._make_room()

    def _make_room(self) -> None:
        """Let in who waits."""
        room, self._room = self._room, None
        if room is not None:
            room.set()

    # -- heartbeat ------------------------------------------------------------------------------------------------------

    def ring(self) -> None:
        """The heartbeat's alarm rang."""
        self.check_time()

    def check_time(self) -> None:
        """Do what is due now: send a ping, or close when the peer did not answer the last one in time."""
        if self.closed:
            return
        for action in self.session.tick(self._endpoint.now()):
            match action:
                case Send(frame):
                    self.pipe.write(_control(frame))
                case Close(reason):
                    self.close(reason)
        self._schedule()

    def _schedule(self) -> None:
        """Have the alarm ring by the deadline. One that rings before it finds nothing due and is set again, which is cheaper
        than a new one for each packet that puts the deadline off."""
        alarms, deadline = self._endpoint.alarms, self.session.deadline
        if not self.closed and alarms.time_of(self) > deadline + GRAIN_S:
            alarms.put(self, deadline)

    # -- life -----------------------------------------------------------------------------------------------------------

    async def open(self, hang_up: HangUp | None) -> None:
        """Begin: the handshake packet goes out first. `hang_up` ends the WebSocket below, where there is one."""
        self._hang_up = hang_up
        self.pipe.write(WireMessage(self.session.open_packet().encode()))
        self._schedule()
        await self.app.opened()

    def close(self, reason: str, farewell: str = "1", code: int = NORMAL, told: str = "") -> None:
        """End the connection. A long-polling client gets `farewell` as the answer to its open request, one with a WebSocket the
        close code, and what it is `told`, in at most 123 bytes."""
        if self._ended:
            return
        self._ended = True
        self.session.close()
        self._endpoint.alarms.clear(self)
        if self._upgrade_timer is not None:
            self._upgrade_timer.cancel()
            # A timer knows in whose name it logs, and with that all there is of a connection.
            self._upgrade_timer = None
        if isinstance(self.pipe, PollingPipe):
            if farewell == "6":
                self.pipe.drain()
            self.pipe.write(WireMessage(farewell.encode()))
            self.pipe.shut()
        if self._cancel_probe is not None:
            self._cancel_probe()
        hang_up, self._hang_up = self._hang_up, None
        if hang_up is not None:
            hang_up(code, told)
        self._endpoint.forget(self, reason)

    # -- long-polling ---------------------------------------------------------------------------------------------------

    async def poll(self) -> str:
        """Wait for something to send and return it as one payload. Raises `ProtocolError` when a poll is open already."""
        pipe = self.pipe
        if not isinstance(pipe, PollingPipe):
            raise BAD_REQUEST()
        if self._polling:
            error = ProtocolError("overlapping polls")
            self.fail(error)
            raise error
        self._polling = True
        try:
            if self.session.upgrading and not pipe.pending:
                return "6"
            await pipe.filled()
            return pipe.take()
        finally:
            self._polling = False

    # -- upgrade --------------------------------------------------------------------------------------------------------

    def begin_upgrade(self, cancel: Callable[[], None]) -> None:
        """A WebSocket wants to take over; `cancel` closes it. Raises `ProtocolError` when it cannot."""
        self.session.begin_upgrade()
        self._cancel_probe = cancel
        self._upgrade_timer = asyncio.get_running_loop().call_later(UPGRADE_TIMEOUT_S, self.cancel_upgrade)

    def release_poll(self) -> None:
        """End the open poll with a NOOP, so that the client can change over."""
        if self._polling and isinstance(self.pipe, PollingPipe) and not self.pipe.pending:
            self.pipe.write(WireMessage(b"6"))

    def cancel_upgrade(self) -> None:
        """The WebSocket did not take over in time or went away; polling goes on."""
        self._end_upgrade()
        if self.session.upgrading:
            self.session.cancel_upgrade()

    def finish_upgrade(self, pipe: Pipe, hang_up: HangUp) -> None:
        """The WebSocket has taken over. What waited for a poll goes out over it first."""
        waiting = self.pipe.drain() if isinstance(self.pipe, PollingPipe) else []
        if self._polling and isinstance(self.pipe, PollingPipe):
            self.pipe.write(WireMessage(b"6"))
        self._cancel_probe = None
        self._end_upgrade()
        self.pipe, self._hang_up = pipe, hang_up
        for packet in waiting:
            if isinstance(packet, bytes):
                pipe.write_binary(packet)
            elif packet != "6":
                pipe.write(WireMessage(packet.encode()))
        self.app.upgraded()

    def _end_upgrade(self) -> None:
        if self._upgrade_timer is not None:
            self._upgrade_timer.cancel()
            self._upgrade_timer = None
        cancel, self._cancel_probe = self._cancel_probe, None
        if cancel is not None:
            cancel()


class EngineEndpoint:
    """The Engine.IO connections of this process at one path, and what runs on them.

    make_app: builds the application of a new connection
    gate:     who may come in
    flood:    packets of one connection above which it is closed
    """

    def __init__(
        self,
        make_app: Callable[[EngineConnection], EngineApp],
        config: EngineConfig,
        gate: Gate | None = None,
        flood: Rate = UNLIMITED,
    ) -> None:
        self.make_app = make_app
        self.config = config
        self.gate = gate or Gate()
        self.flood = flood
        self.turns = Turns()
        #: The heartbeats of all.
        self.alarms = Alarms(self.now)
        #: By which part of the interval at most the first ping of a connection comes early. Clients that come at the same time,
        #: as after a restart, would else be pinged at the same time for ever.
        self.spread = 0.8
        self.connections: dict[str, EngineConnection] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        """The clock of the heartbeat, in seconds: what the event loop's is, too, but to ask for the loop is a system call."""
        return time.monotonic()

    def create(self, transport: Literal["polling", "websocket"], pipe: Pipe, client: ClientInfo) -> EngineConnection:
        """A new connection, which the gate has admitted; its `open` is to be awaited."""
        early = random.uniform(0.0, self.spread)  # noqa: S311 - no secret
        session = EngineSession(secrets.token_urlsafe(15), self.config, transport, self.now(), early)
        connection = EngineConnection(self, session, pipe, client)
        self.connections[session.sid] = connection
        self.gate.enter(client.address)
        return connection

    def find(self, sid: str) -> EngineConnection | None:
        """A live connection. One whose time ran out while nobody looked is closed here."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.check_time()
        return connection if connection is not None and not connection.closed else None

    def forget(self, connection: EngineConnection, reason: str) -> None:
        """Be done with a connection that closed, and tell its application."""
        if self.connections.pop(connection.sid, None) is None:
            return
        self.gate.leave(connection.client.address)
        task = asyncio.get_running_loop().create_task(self._end(connection, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, connection: EngineConnection, reason: str) -> None:
        try:
            await connection.app.closed(reason)
        finally:
            connection.app = _GONE

    def close_all(self, reason: str) -> None:
        """End every connection."""
        for connection in list(self.connections.values()):
            connection.close(reason)
