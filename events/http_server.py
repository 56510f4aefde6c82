"""HTTP under daphne, less trusting: what a request may take in time and in bytes, before the application sees any of it.

daphne and Twisted leave some doors open that this closes, and do not say why they refuse a head that is too large:

- A timeout that every byte prolongs. A client that sends one each few seconds holds its connection for as long as it likes.
- Bodies of any size, kept in memory or in a temporary file until they are complete.
- Forms, which Twisted takes apart although nothing here wants them: a few megabytes of `a&a&a…` keep the loop busy for seconds.
- Answers that nobody reads. Twisted begins with the next request of a connection although the answers before it have not left.

WebSockets do not get as far as daphne's: a request for one is answered here, and `events.websocket` takes the connection over.
A plain one, which nearly all are, does not even get as far as Twisted's reader of HTTP.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import orjson
from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from events.clients_last import AS_CLIENT, CLIENT
from events.limits.load import Load
from events.pacing import ReadingTurns
from events.protocol.websocket import Handshake, Headers, Refusal, asks_for_websocket, handshake_refusal, plain_handshake
from events.tcp_door import TcpDoor
from events.untaken import Untaken

#: How long a connection may rest between two requests. Longer than proxies keep one (nginx: 60 s), so that none is closed
#: just as it is used again.
IDLE_S: Final = 75.0

#: The address of a poll: long-polling with the session's id.
POLL: Final = re.compile(rb"/socket\.io/?\?(?=(?:.*&)?sid=[^&])(?=(?:.*&)?transport=polling(?:&|$))")

#: What is read of a body that is too large, so that its sender gets to read the answer; then the connection is cut.
LINGER_BYTES: Final = 67_108_864

#: Bodies that are held at once, arriving ones and those of requests on which work goes on, may take as much as so many of the
#: largest: in all, and of one address. They lie in memory and in temporary files, and anybody may send one.
BODIES: Final = 32
BODIES_OF_ADDRESS: Final = 8

#: So many bytes of each body do not count among them: small bodies are taken while others fill all the room there is. There are
#: no more of them than TCP connections, and a head may take as much.
UNCOUNTED: Final = 16_384

TOO_LARGE: Final = (
    "The body has {} bytes; at most {} are taken, as many as a list of events may have, or one event (WS_MAX_EVENT_BYTES) or "
    "message (WS_MAX_PAYLOAD_BYTES) where that is more."
)

CROWDED: Final = "The server is receiving too much at the moment, in all or from your address. Try again in a second."

HEAD_TOO_LARGE: Final = b'{"message":"The request line and the headers are too large for this server (WS_MAX_HEADER_BYTES)."}'

#: The whole answer to such a head: there is no request yet that could be answered.
_HEAD_REFUSED: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(HEAD_TOO_LARGE), HEAD_TOO_LARGE)
)


class PromptChannel(HTTPChannel):
    """A connection on which each request has to arrive within a time, however busily it trickles, its head within a size. The
    next one is begun when the answer to the one before has left."""

    _arriving = False
    _silent = True
    #: Its answer is complete, and has not left yet.
    _leaving: Any = None
    #: Set when what was written has left; None when nobody waits for that.
    _left: asyncio.Event | None = None

    def dataReceived(self, data: bytes) -> None:
        first, self._silent = self._silent, False
        if first and self._becomes_websocket(data):
            return
        begins = not self._arriving and not self._handlingRequest
        if begins:
            self._arriving = True
        # Not HTTPChannel's own way, which prolongs the time.
        LineReceiver.dataReceived(self, data)
        # Most requests are whole by now, and need no time to arrive.
        if begins and self._arriving:
            # Twisted brings a timer forward by a search through all timers, so this makes a new one.
            self.setTimeout(None)
            self.setTimeout(self.factory.request_s)

    def _becomes_websocket(self, data: bytes) -> bool:
        """Take care of a plain request for a WebSocket, which is what nearly every client begins with: to have it read as HTTP
        takes several times as long. False, and nothing was done, for any other."""
        request = plain_handshake(data) if len(data) <= self.totalHeadersSize else None
        if request is None or len(request.pairs) > self.maxHeaders:
            return False
        self.setTimeout(None)
        transport: Any = self.transport
        transport.unregisterProducer()
        scope = websocket_scope(request, transport.getPeer(), transport.getHost())
        self.factory.server.websockets.open(transport, scope, request.key)
        return True

    def lineReceived(self, line: bytes) -> None:
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._refuse_head()
        else:
            super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        if self._receivedHeaderCount >= self.maxHeaders:
            self._refuse_head()
            return False
        fine: bool = super().headerReceived(line)
        return fine

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Transfer-Encoding" and data.lower() != b"chunked":
            # Twisted takes no notice of `identity`, also beside another one: a proxy might read the same bytes differently.
            return bool(self._failChooseTransferDecoder())
        fine: bool = super()._maybeChooseTransferDecoder(header, data)
        return fine

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_head()

    def _refuse_head(self) -> None:
        self.factory.refused("head")
        transport: Any = self.transport
        transport.write(_HEAD_REFUSED)
        self.loseConnection()

    def timeoutConnection(self) -> None:
        if self._arriving:
            self.factory.refused("request_time")
        super().timeoutConnection()

    def allContentReceived(self) -> None:
        self._arriving = False
        super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:
        super().rawDataReceived(data)
        if self._handlingRequest and self._waitingForTransport:
            # Twisted would go on to read, and to keep, what comes behind a request whose answer is not taken.
            transport: Any = self.transport
            transport.pauseProducing()

    async def taken(self) -> None:
        """Wait until what was written has left, or the connection is gone."""
        if self._waitingForTransport:
            self._left = self._left or asyncio.Event()
            await self._left.wait()

    def _wake(self) -> None:
        self.factory.untaken.forget(self)
        if self._left is not None:
            self._left.set()
            self._left = None

    def pauseProducing(self) -> None:
        if not self._waitingForTransport:
            self.factory.untaken.watch(self)
        super().pauseProducing()

    def loseConnection(self) -> None:
        super().loseConnection()
        transport: Any = self.transport
        if transport.connected:
            # It ends when what was written has left.
            self.factory.untaken.watch(self)

    def cut_untaken(self) -> None:
        """The other end takes nothing of what was written."""
        self.factory.refused("untaken")
        self.forceAbortClient()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._wake()
        request, self._leaving = self._leaving, None
        if request is not None:
            self.requestDone(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._wake()
        if self._leaving is not None:
            # It is over already, and must not be told of the end a second time.
            self.requests.remove(self._leaving)
            self._leaving = None
        super().connectionLost(reason)

    def requestDone(self, request: Any) -> None:
        if self.persistent and self._waitingForTransport:
            self._leaving = request
            return
        super().requestDone(request)
        if self.persistent and not self._handlingRequest:
            self.setTimeout(IDLE_S)


#: What stands behind a status in an answer. Twisted does not know all of them.
PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


class BoundedRequest(WebRequest):
    """A request whose body is of a bounded size, and is nobody's form."""

    _parsePOSTFormSubmission = False
    _received = 0
    #: Of the body, so much counts as held, in this load and for this party.
    _held = 0
    _bodies: Load
    _party = ""
    _crowded = False

    @property
    def _max_body(self) -> int:
        limit: int = self.channel.factory.max_body
        return limit

    def handleContentChunk(self, data: bytes) -> None:
        fitted = self._received <= self._max_body
        self._received += len(data)
        if self._received <= self._max_body:
            self._keep(data)
        elif fitted:
            self.channel.factory.refused("body")
            self._let_go()
        elif self._received > self._max_body + LINGER_BYTES:
            self.channel.forceAbortClient()

    def _keep(self, data: bytes) -> None:
        if self._crowded:
            return
        if not self._held:
            self._bodies = self.channel.factory.bodies
            self._party = self.channel.factory.door.party(_host(self.channel.getPeer()))
        more = max(0, self._received - UNCOUNTED) - self._held
        if not more or self._bodies.add(self._party, more):
            self._held += more
            super().handleContentChunk(data)
        else:
            self._crowded = True
            self.channel.factory.refused("bodies")
            self._let_go()

    def _let_go(self) -> None:
        """Keep nothing of the body."""
        self.content.seek(0)
        self.content.truncate(0)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, 0
        if held:
            self._bodies.remove(self._party, held)

    async def taken(self) -> None:
        """Wait until the client has taken what it was sent, or is gone."""
        if self.channel is not None:
            await self.channel.taken()

    def finish(self) -> None:
        self._release()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        work: asyncio.Future[None] | None = self.server.connections.get(self, {}).get("application_instance")
        if work is None:
            self._release()
        else:
            # It has the body, and goes on although its client is gone.
            work.add_done_callback(lambda _: self._release())
        super().connectionLost(reason)

    def process(self) -> Any:
        if self._crowded:
            self._refuse(503, CROWDED, [(b"retry-after", b"1")])
            return None
        if self._received > self._max_body:
            self._refuse(413, TOO_LARGE.format(self._received, self._max_body))
            return None
        if CLIENT.get() or (self._asks_for_events and self.channel.transport.goes_first()):
            return self._begin()
        # What was read as if it asked for events, and does not; and what came behind a request that does.
        return AS_CLIENT.copy().run(self._begin)

    def _begin(self) -> Any:
        if self.requestHeaders.hasHeader(b"upgrade") and self._became_websocket():
            return None
        return super().process()

    @property
    def _asks_for_events(self) -> bool:
        """Whether this is a poll of a session."""
        return bool(self.method == b"GET" and POLL.match(self.uri))

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        super().setResponseCode(code, message or PHRASES.get(code))

    def handle_reply(self, message: dict[str, Any]) -> None:
        channel = self.channel
        super().handle_reply(message)
        if self.finished and self.code == 200 and channel is not None and self._asks_for_events:
            channel.transport.answered_poll()

    def _refuse(self, status: int, message: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer with an error, and be done with this connection."""
        body = orjson.dumps({"message": message})
        about = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        self.channel.persistent = False
        self.handle_reply({"type": "http.response.start", "status": status, "headers": [*about, *headers]})
        self.handle_reply({"type": "http.response.body", "body": body})

    def _became_websocket(self) -> bool:
        """Take care of a request that asks for a WebSocket. False, and nothing was done, for any other."""
        # A name with an underscore passes for one with a hyphen in some places: it could replace a header of a proxy's.
        pairs = [
            (name.lower(), value)
            for name, values in self.requestHeaders.getAllRawHeaders()
            for value in values
            if b"_" not in name
        ]
        headers = Headers(pairs)
        if not asks_for_websocket(headers):
            return False
        refusal = handshake_refusal(self.method, self.clientproto, headers)
        if refusal is None and not (self.uri.isascii() and not self._received):
            refusal = Refusal(400, "The address of a WebSocket is ASCII, and its request has no body.")
        if refusal is not None:
            self._refuse(refusal.status, refusal.message, refusal.headers)
            return True
        self._hand_over(Handshake(self.uri, pairs, headers))
        return True

    def _hand_over(self, request: Handshake) -> None:
        """Make the connection a WebSocket's. HTTP lets go of what it has of it, which would stay as long as the client."""
        transport = self.channel.transport
        transport.unregisterProducer()
        self.channel.requests.clear()
        self.server.connections.pop(self, None)
        self.server.websockets.open(transport, websocket_scope(request, self.client, self.host), request.key)


def websocket_scope(request: Handshake, client: Any, server: Any) -> dict[str, Any]:
    """ASGI's scope of a WebSocket. `client` and `server` are Twisted's addresses."""
    path, _, query = request.uri.partition(b"?")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": unquote(path.decode()),
        "raw_path": path,
        "root_path": "",
        "headers": request.pairs,
        "query_string": query,
        "client": _address(client),
        "server": _address(server),
        "subprotocols": [token.decode("latin-1") for token in request.headers.tokens(b"sec-websocket-protocol")],
    }


def _address(address: Any) -> list[Any] | None:
    """Host and port; None for a Unix socket."""
    return [address.host, address.port] if hasattr(address, "port") else None


def _host(address: Any) -> str:
    """Empty for a Unix socket."""
    return getattr(address, "host", "")


class BoundedFactory(HTTPFactory):
    """Makes the connections.

    request_s: seconds within which a request has to arrive, and within each of which something of an answer has to be taken
    max_head:  bytes of the longest request line with all headers
    max_body:  bytes of the largest body
    door:      counts the connections
    refused:   is told the rule by which a request was not taken: `head`, `body`, `bodies`, `request_time` or `untaken`
    """

    # daphne wraps the channel in one that can change over to HTTP/2, which this server does not speak.
    protocol = PromptChannel

    def __init__(
        self, server: Any, request_s: float, max_head: int, max_body: int, door: TcpDoor, refused: Callable[[str], None]
    ) -> None:
        super().__init__(server)
        self.door = door
        self.request_s = request_s
        self.max_head = max_head
        self.refused = refused
        self.max_body = max_body
        self.bodies = Load(BODIES * max_body, BODIES_OF_ADDRESS * max_body)
        self.turns = ReadingTurns()
        self.untaken = Untaken(request_s)

    def check(self) -> None:
        """Cut those that do not take their answers. To be called every few seconds."""
        for channel in self.untaken.overdue():
            channel.cut_untaken()

    def buildProtocol(self, addr: IAddress) -> Any:
        if not self.door.hears(_host(addr)):
            return None
        turned_away = self.door.enter(_host(addr))
        if turned_away is not None:
            return turned_away
        channel = super().buildProtocol(addr)
        channel.requestFactory = BoundedRequest
        # From the beginning: to bring a timer forward takes time in proportion to all timers there are.
        channel.timeOut = self.request_s
        channel.totalHeadersSize = channel.MAX_LENGTH = self.max_head
        return channel
