"""Channels consumers: thin shells that move bytes between ASGI and the protocol.

None of them joins a channel layer group: one member per process does (`events.channel_groups`), and hands events to the
sessions directly.
"""

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson
import structlog
from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer

from events.asgi_types import Receive, Send
from events.clients_last import delivering
from events.connection import EngineConnection, EngineEndpoint
from events.fanout.session import ClientInfo
from events.fanout.wire import WireMessage
from events.gate import Gate, Refused
from events.origins import cors_headers, header, preflight_headers
from events.pipes import AsgiPipe, ClosablePipe, PollingPipe, websocket_pipe
from events.protocol.engineio import (
    UNKNOWN_SID,
    EngineRequest,
    ProbeReply,
    RequestError,
    Upgraded,
    decode_packet,
    decode_payload,
    parse_request,
)
from events.protocol.errors import ProtocolError
from events.protocol.frames import payload_size
from events.protocol.websocket import INVALID_DATA, NORMAL, PROTOCOL_ERROR, TOO_BIG

if TYPE_CHECKING:
    # Behind it stand the commands and the tables of tokens; these shells also serve without them.
    from events.plain_app import PlainApp, PlainEndpoint

log = structlog.get_logger("events")

TEXT = (b"content-type", b"text/plain; charset=UTF-8")
JSON = (b"content-type", b"application/json")

#: Engine.IO's code of a refusal that has nothing to do with the protocol.
FORBIDDEN = 4

#: Packets of one payload that are taken in one turn of the event loop: between them, events are delivered. Payloads with more
#: take turns with each other.
STEP_PACKETS = 16

#: By the code with which a socket ended, which rule its client broke, where the ASGI server says no more than the code. Clients
#: could send these two themselves, and have no reason to. They do send 1009, of messages that are too large for them.
BROKEN: Final = {PROTOCOL_ERROR: "framing", INVALID_DATA: "utf8"}

#: How long a client that was refused for now should wait.
RETRY_AFTER_S = 10


def close_code(status: int) -> int:
    """WebSocket's way to say an HTTP status: the range that is left to applications, all that daphne lets them use."""
    return 4_000 + status


def too_large(limit: int) -> ProtocolError:
    """What a client is told of a message over the limit; short enough for a close frame."""
    return ProtocolError(f"a message over {limit} bytes (WS_MAX_PAYLOAD_BYTES)")


class LeanConsumer(AsyncConsumer):
    """A consumer without the two costs that stock consumers have per socket and per message: a channel of its own in the
    layer, and a visit to the one database thread of the process."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.base_send = scope, receive, send
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        finally:
            self.ended()

    async def dispatch(self, message: dict[str, Any]) -> None:
        await getattr(self, get_handler_name(message))(message)

    def ended(self) -> None:
        """The server is done with this consumer, however that came about."""

    @property
    def client(self) -> ClientInfo:
        address = self.scope.get("client") or ("",)
        return ClientInfo(str(address[0]), header(self.scope["headers"], b"user-agent")[:256])


class WebSocketConsumer(LeanConsumer):
    """What all WebSockets share: closing."""

    _closers: ClassVar[set[asyncio.Task[None]]] = set()
    gate: Gate | None = None
    pipe: ClosablePipe | None = None

    @property
    def sid(self) -> str:
        """Of the client; empty while it has none."""
        return ""

    async def refuse(self, refusal: Exception, transport: str = "websocket") -> None:
        """Do not accept the socket; a client that is welcome later is told so by a close code, which needs a socket."""
        log.info("handshake_refused", transport=transport, address=self.client.address, reason=str(refusal))
        if isinstance(refusal, Refused) and refusal.for_now:
            await self.send({"type": "websocket.accept"})
            await self.send({"type": "websocket.close", "code": close_code(refusal.status), "reason": refusal.message})
        else:
            await self.send({"type": "websocket.close"})
        raise StopConsumer

    async def accept(self) -> ClosablePipe:
        await self.send({"type": "websocket.accept"})
        self.pipe = websocket_pipe(self.base_send, lambda: self.sid)
        self._forget_request()
        return self.pipe

    def _forget_request(self) -> None:
        """Let go of what nobody asks for any more: the headers, up to a fifth of what an idle client takes, and under `serve`
        all else but the client's address."""
        scope = self.scope
        about: dict[str, Any] | None = scope.get("about")
        scope["headers"] = []
        if about is not None:
            # Whoever serves the socket wants to say in the log whose it is.
            about["sid"] = lambda: self.sid
            kept: dict[str, Any] = {name: scope[name] for name in ("type", "client", "headers", "about") if name in scope}
            scope.clear()
            scope.update(kept)

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        rule = BROKEN.get(message.get("code", 0), "")
        # `serve` knows more than the code, and counts by itself.
        if rule and self.gate is not None and "about" not in self.scope:
            self.gate.count(rule)
            self.gate.offended(self.client.address)
        raise StopConsumer

    def ended(self) -> None:
        # Not from the code of the end, which may be the client's own, and which a consumer that is busy does not hear.
        if self.gate is not None and self.scope.get("about", {}).get("violated"):
            self.gate.offended(self.client.address)
        if isinstance(self.pipe, AsgiPipe):
            self.pipe.keep_sid()

    @property
    def too_large_code(self) -> int:
        """1009, except where daphne's own sockets may be below, which take it from no application."""
        return TOO_BIG if "about" in self.scope else close_code(413)

    def hang_up(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the socket behind what was written to it; nothing that is written from now on goes out."""
        if self.pipe is not None:
            self.pipe.shut()
        task = asyncio.get_running_loop().create_task(self._close(code, reason))
        self._closers.add(task)
        task.add_done_callback(self._closers.discard)

    async def _close(self, code: int, reason: str) -> None:
        if isinstance(self.pipe, AsgiPipe):
            await self.pipe.flush()
        try:
            await self.send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception as error:
            log.debug("close_failed", sid=self.sid, reason=repr(error))


class EngineWebSocketConsumer(WebSocketConsumer):
    """Engine.IO over WebSocket: a connection of its own, or the upgrade of one that began with long-polling."""

    def __init__(self, endpoint: EngineEndpoint) -> None:
        self.endpoint, self.gate = endpoint, endpoint.gate
        self.connection: EngineConnection | None = None
        self.probed: EngineConnection | None = None

    @property
    def sid(self) -> str:
        connection = self.connection or self.probed
        return connection.client_sid if connection is not None else ""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        try:
            self.endpoint.gate.check(self.scope["headers"])
            request = parse_request("GET", self.scope["query_string"], "websocket")
            await self._open(request)
        except (RequestError, Refused) as error:
            await self.refuse(error)

    async def _open(self, request: EngineRequest) -> None:
        if request.sid is None:
            await self._begin()
            return
        probed = self.endpoint.find(request.sid)
        if probed is None:
            raise UNKNOWN_SID()
        await self.accept()
        try:
            probed.begin_upgrade(self.hang_up)
        except RequestError as error:
            # Accepted and closed rather than refused: the session lives, and its client must not take this for an error.
            log.info("upgrade_refused", sid=probed.client_sid, reason=error.message)
            self.hang_up()
            return
        self.probed = probed

    async def _begin(self) -> None:
        client = self.client
        self.endpoint.gate.admit(client.address)
        pipe = await self.accept()
        self.connection = self.endpoint.create("websocket", pipe, client)
        self._listen(self.connection)
        await self.connection.open(self.hang_up)

    def _listen(self, connection: EngineConnection) -> None:
        """Have `serve`, which can do that, hand pongs over without this consumer."""
        about: dict[str, Any] | None = self.scope.get("about")
        if about is not None:
            about["hear"] = connection.hear

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        text: str | None = message.get("text")
        frame: str | bytes = text if text is not None else message["bytes"]
        if self.probed is not None and self.pipe is not None:
            self._probe(self.probed, self.pipe, frame)
        elif self.connection is not None:
            await self._receive(self.connection, frame)

    async def _receive(self, connection: EngineConnection, frame: str | bytes) -> None:
        if connection.closed:
            return
        limit = self.endpoint.config.max_payload_bytes
        if payload_size(frame) > limit:
            self.endpoint.gate.count("body")
            connection.fail(too_large(limit), self.too_large_code)
            return
        try:
            packet = decode_packet(frame)
        except ProtocolError as error:
            connection.fail(error)
            return
        await connection.receive(packet)

    def _probe(self, probed: EngineConnection, pipe: ClosablePipe, frame: str | bytes) -> None:
        try:
            result = probed.session.receive_probe(frame)
        except ProtocolError as error:
            log.info("upgrade_failed", sid=probed.client_sid, reason=str(error))
            self.probed = None
            probed.cancel_upgrade()
            return
        match result:
            case ProbeReply(reply):
                pipe.write(WireMessage(reply.encode()))
                probed.release_poll()
            case Upgraded():
                self.probed, self.connection = None, probed
                self._listen(probed)
                probed.finish_upgrade(pipe, self.hang_up)

    def ended(self) -> None:
        if self.probed is not None:
            self.probed.cancel_upgrade()
        if self.connection is not None:
            self.connection.close("transport close")
        super().ended()


class EnginePollingConsumer(LeanConsumer):
    """Engine.IO over HTTP long-polling: one request opens a session, GET takes what waits, POST brings messages."""

    def __init__(self, endpoint: EngineEndpoint) -> None:
        self.endpoint = endpoint
        self.body = bytearray()

    async def http_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def http_request(self, message: dict[str, Any]) -> None:
        self.body += message.get("body", b"")
        if len(self.body) > self.endpoint.config.max_payload_bytes:
            self.endpoint.gate.count("body")
            await self._respond(413, b"Payload too large", TEXT)
        if not message.get("more_body", False):
            await self._serve()

    async def _serve(self) -> None:
        method, headers = self.scope["method"], self.scope["headers"]
        try:
            self.endpoint.gate.check(headers)
        except Refused as refusal:
            await self._refuse(refusal)
        if method == "OPTIONS":
            await self._respond(204, b"", *preflight_headers(headers, self.endpoint.gate.origins))
        try:
            request = parse_request(method, self.scope["query_string"], "http")
            if request.sid is None:
                await self._open()
            connection = self.endpoint.find(request.sid or "")
            if connection is None:
                raise UNKNOWN_SID()
            await (self._poll(connection) if method == "GET" else self._take(connection))
        except Refused as refusal:
            await self._refuse(refusal)
        except RequestError as error:
            await self._respond(400, error.body(), JSON)
        except ProtocolError as error:
            await self._respond(400, RequestError(3, f"Bad request: {error}").body(), JSON)

    async def _refuse(self, refusal: Refused) -> None:
        log.info("handshake_refused", transport="polling", address=self.client.address, reason=refusal.message)
        headers = [JSON, (b"retry-after", str(RETRY_AFTER_S).encode())] if refusal.for_now else [JSON]
        await self._respond(refusal.status, RequestError(FORBIDDEN, refusal.message).body(), *headers)

    async def _open(self) -> None:
        self.endpoint.gate.admit(self.client.address)
        pipe = PollingPipe()
        connection = self.endpoint.create("polling", pipe, self.client)
        await connection.open(None)
        await self._respond(200, pipe.take().encode(), TEXT)

    async def _poll(self, connection: EngineConnection) -> None:
        """Answer when there is something to say. A client that goes away meanwhile has ended its session."""
        with delivering():
            gone = asyncio.ensure_future(self.receive())

        def leave(_: object) -> None:
            connection.close("transport close")

        # That also ends the poll. Waited for directly, an event is answered with a turn of the loop after it came.
        gone.add_done_callback(leave)
        try:
            with delivering():
                payload = await connection.poll()
            if gone.done():
                leave(gone)
                raise StopConsumer
            await self._respond(200, payload.encode(), TEXT)
        finally:
            gone.remove_done_callback(leave)
            gone.cancel()
            await asyncio.wait((gone,))

    async def _take(self, connection: EngineConnection) -> None:
        if connection.session.transport != "polling":
            raise RequestError(3, "Bad request")
        try:
            packets = decode_payload(self.body.decode())
        except (ProtocolError, UnicodeDecodeError) as error:
            failure = error if isinstance(error, ProtocolError) else ProtocolError("the payload is not UTF-8")
            connection.fail(failure)
            raise failure from None
        for number, packet in enumerate(packets):
            if number % STEP_PACKETS == STEP_PACKETS - 1:
                await self.endpoint.turns.take()
            await connection.receive(packet)
        await self._respond(200, b"ok", TEXT)

    async def _respond(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        """Answer, and be done with this request."""
        all_headers = [
            *headers,
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", str(len(body)).encode()),
        ]
        if status != 204:
            all_headers += cors_headers(self.scope["headers"], self.endpoint.gate.origins)
        await self.send({"type": "http.response.start", "status": status, "headers": all_headers})
        await self.send({"type": "http.response.body", "body": body})
        raise StopConsumer


class PlainWebSocketConsumer(WebSocketConsumer):
    """The same commands and events as JSON messages, for clients without Socket.IO."""

    def __init__(self, endpoint: "PlainEndpoint") -> None:
        self.endpoint, self.gate = endpoint, endpoint.gate
        self.app: PlainApp | None = None

    @property
    def sid(self) -> str:
        return self.app.session.sid if self.app is not None else ""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        client = self.client
        try:
            self.endpoint.gate.check(self.scope["headers"])
            self.endpoint.gate.admit(client.address)
        except Refused as refusal:
            await self.refuse(refusal, "plain")
        pipe = await self.accept()
        self.app = await self.endpoint.open(pipe, client, self.hang_up)

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        text: str | None = message.get("text")
        data: str | bytes = text if text is not None else message["bytes"]
        if self.app is None or self.app.over:
            return
        await self.endpoint.turns.take()
        limit = self.endpoint.max_payload_bytes
        if payload_size(data) > limit:
            self.endpoint.gate.count("body")
            self.endpoint.gate.offended(self.client.address)
            self.endpoint.forget(self.app, "message too large")
            self.hang_up(self.too_large_code, str(too_large(limit)))
            return
        try:
            request = orjson.loads(data)
        except orjson.JSONDecodeError:
            request = None
        await self.app.receive(request)

    def ended(self) -> None:
        if self.app is not None:
            self.endpoint.forget(self.app, "transport close")
        super().ended()


class ClosedConsumer(WebSocketConsumer):
    """WebSockets at paths where there is nothing are refused without a traceback."""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        await self.refuse(LookupError("nothing at this path"))
