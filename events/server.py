"""daphne, with a backlog for reconnect storms, clear words when it cannot listen, and an end that takes clients along."""

import asyncio
import functools
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from daphne.http_protocol import HTTPFactory
from daphne.server import Server
from django.conf import settings
from twisted.internet import defer, error, reactor
from twisted.python.failure import Failure

from events.asgi import ServerApplication
from events.http_server import BoundedFactory, BoundedRequest
from events.pacing import PacedConnection, accept_few
from events.tcp_door import TcpDoor
from events.websocket import SocketLimits, WebSocketHouse

log = structlog.get_logger("events")

#: Connections that wait to be accepted. daphne's default of 50 makes a reconnect storm wait out SYN retransmits.
BACKLOG = 4_096

#: After how many intervals of Engine.IO's heartbeat a silent WebSocket is pinged. These pings are for plain ones, as the others
#: are heard each interval.
SILENT_INTERVALS: Final = 1.2

#: Stopping takes at most so long, whatever clients and Redis do.
STOP_TIMEOUT_S = 1.2

#: A request is worked on for so long after its client is gone: a thread cannot be given up, and what it takes counts until it
#: ends. What views wait for (Redis, the database, other logins) is given up long before.
APPLICATION_TIMEOUT_S = 60

#: How long a server that has drained waits for the last clients to take their leave, and how often it looks.
SEE_OFF_S: Final = 1.0
SEE_OFF_STEP_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker has from its parent (`events.workers`): the socket to listen on, and a pipe that closes with the parent."""

    listener: int
    lifeline: int


class EventServer(Server):
    """daphne's server. `failure` says why it could not listen."""

    failure = ""
    announce: Callable[[], None]
    _draining: "asyncio.Future[None] | None" = None

    def __init__(self, *, inherited: Inherited | None = None, **options: Any) -> None:
        self._inherited = inherited
        super().__init__(**options)
        self.websockets = WebSocketHouse(
            self.application,
            SocketLimits(
                message_bytes=self.websocket_max_message_size,
                frame_bytes=self.websocket_max_frame_size,
                connect_s=self.websocket_connect_timeout,
                ping_interval_s=self.ping_interval,
                ping_timeout_s=self.ping_timeout,
                flood=settings.EVENTS.session.frames,
            ),
            self.application.refused,
        )
        if inherited is not None:
            # daphne wants to be told of an address at first.
            self.endpoints: list[str] = []
            self.ready_callable = functools.partial(self._adopt, inherited.listener)

    def _adopt(self, descriptor: int) -> None:
        """Listen on the socket of the parent."""
        with socket.socket(fileno=descriptor) as listener:
            # The reactor makes a descriptor of its own.
            port = reactor.adoptStreamPort(listener.fileno(), listener.family, self.http_factory)
        self.listeners.append(defer.succeed(port))
        self.listen_success(port)

    def _orphaned(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        log.warning("parent_gone", worker_pid=os.getpid())
        self.stop()

    @property
    def http_factory(self) -> BoundedFactory:
        return self._http_factory

    @http_factory.setter
    def http_factory(self, _daphnes: HTTPFactory) -> None:
        """daphne makes one of its own when it runs; ours takes its place."""
        access, refused = settings.EVENTS.access, self.application.refused
        door = TcpDoor(access, self.application.sockets.arrivals, settings.EVENTS.trusted_proxies, refused)
        self._http_factory = BoundedFactory(self, access.request_s, access.head_bytes, settings.MAX_BODY_BYTES, door, refused)

    def timeout_checker(self) -> None:
        """daphne calls this every two seconds."""
        super().timeout_checker()
        self.websockets.check()
        self.http_factory.check()

    async def handle_reply(self, protocol: BoundedRequest, message: dict[str, Any]) -> None:
        """Take what the application sends. It is to send the next part of an answer when the client has taken this one."""
        await super().handle_reply(protocol, message)
        if message.get("more_body"):
            await protocol.taken()

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        port.transport = PacedConnection
        accept_few(port)
        # The process behind it starts as soon as the loop runs, so that the others know it before its first client comes.
        reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        self._starting = asyncio.ensure_future(self._start())

    def _terminate(self) -> None:
        """SIGTERM: let the clients go one after the other. Another one, or Ctrl-C at any time, ends at once."""
        if self._draining is not None:
            self.stop()
            return
        self._draining = asyncio.ensure_future(self._drain())

    def stop(self) -> None:
        try:
            super().stop()
        except error.ReactorNotRunning:
            # A further signal while it ends changes nothing.
            pass

    async def _drain(self) -> None:
        try:
            if await self.application.drain():
                await self._see_off()
        except Exception:
            log.exception("drain_failed")
        self.stop()

    async def _see_off(self) -> None:
        """Wait until those that were closed are gone: what they were sent last would be lost with their connections."""
        deadline = asyncio.get_running_loop().time() + SEE_OFF_S
        while asyncio.get_running_loop().time() < deadline:
            if not len(self.websockets) and all("disconnected" in details for details in self.connections.values()):
                return
            await asyncio.sleep(SEE_OFF_STEP_S)

    async def _start(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminate)
        if self._inherited is not None:
            lifeline = self._inherited.lifeline
            asyncio.get_running_loop().add_reader(lifeline, self._orphaned, lifeline)
        await self.application.start()
        address = self.listening_addresses[0] if self.listening_addresses else ("", 0)
        log.info("listening", host=address[0], port=address[1])
        self.announce()

    def listen_error(self, failure: Failure) -> None:
        reason = failure.value
        if isinstance(reason, error.CannotListenError):
            where = f"{reason.interface}:{reason.port}"
            mend = "Stop what uses it, or choose another port: --port 8002 (WS_PORT)."
            self.failure = f"Cannot listen on {where}: {reason.socketError}. {mend}"
        else:
            self.failure = f"Cannot listen: {reason}."
        self.stop()

    def kill_all_applications(self) -> "defer.Deferred[Any]":
        """End every client properly. daphne's own way cancels the consumers and fails when one of them has just begun."""
        stopping = asyncio.ensure_future(self._end())
        return defer.Deferred.fromFuture(stopping)

    async def _end(self) -> None:
        for listener in self.listeners:
            listener.addCallback(lambda port: port.stopListening())
        try:
            await asyncio.wait_for(self.application.close("server shutting down"), STOP_TIMEOUT_S)
        except TimeoutError:
            log.warning("stop_timed_out", seconds=STOP_TIMEOUT_S)
        except Exception:
            log.exception("stop_failed")
        for details in self.connections.values():
            application = details.get("application_instance")
            if application is not None:
                application.cancel()
        self.websockets.cancel()


def run_server(
    application: ServerApplication, host: str, port: int, announce: Callable[[], None], inherited: Inherited | None = None
) -> None:
    """Listen and serve until the process is interrupted. `announce` is called once it listens.

    With what is `inherited` from a parent, it listens on that socket, and ends with the parent. Exits with 1 and one clear
    line when it cannot listen.
    """
    interface = host.replace(":", r"\:")
    protocol = "tcp6" if ":" in host else "tcp"
    server = EventServer(
        application=application,
        inherited=inherited,
        endpoints=[f"{protocol}:port={port}:interface={interface}:backlog={BACKLOG}"],
        # Sockets live as long as their clients; the default ends each after a day.
        websocket_timeout=-1,
        application_close_timeout=APPLICATION_TIMEOUT_S,
        websocket_connect_timeout=20,
        websocket_handshake_timeout=20,
        websocket_max_message_size=settings.DAPHNE_WEBSOCKET_MAX_MESSAGE_SIZE,
        websocket_max_frame_size=settings.DAPHNE_WEBSOCKET_MAX_FRAME_SIZE,
        ping_interval=SILENT_INTERVALS * settings.EVENTS.ping_interval_ms / 1000,
        ping_timeout=settings.EVENTS.ping_timeout_ms / 1000,
        verbosity=0,
        server_name="",
    )
    server.announce = announce
    server.run()
    if server.failure:
        sys.exit(server.failure)
