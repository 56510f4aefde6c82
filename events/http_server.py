"""HTTP under daphne, less trusting: what a request may take in time and in bytes, before the application sees any of it.

daphne and Twisted leave four doors open that this closes:

- A timeout that every byte prolongs. A client that sends one each few seconds holds its connection for as long as it likes.
- Bodies of any size, kept in memory or in a temporary file until they are complete.
- Forms, which Twisted takes apart although nothing here wants them: a few megabytes of `a&a&a…` keep the loop busy for seconds.
- A queue without an end between a WebSocket and its consumer.
"""

import asyncio
from typing import Any, Final

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.internet.interfaces import IAddress
from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel

#: How long a connection may rest between two requests. Longer than proxies keep one (nginx: 60 s), so that none is closed
#: just as it is used again.
IDLE_S: Final = 75.0

#: What is read of a body that is too large, so that its sender gets to read the answer; then the connection is cut.
LINGER_BYTES: Final = 67_108_864

TOO_LARGE: Final = b'{"message":"The body is too large for this server."}'

#: Messages of a WebSocket that wait for its consumer, and their bytes: above either the socket is not read any further.
QUEUE_MESSAGES: Final = 256


class PromptChannel(HTTPChannel):
    """A connection on which each request has to arrive within a time, however busily it trickles."""

    _arriving = False

    def connectionMade(self) -> None:
        super().connectionMade()
        self.setTimeout(self.factory.request_s)

    def dataReceived(self, data: bytes) -> None:
        if not self._arriving and not self._handlingRequest:
            self._arriving = True
            self.setTimeout(self.factory.request_s)
        # Not HTTPChannel's own way, which prolongs the time.
        LineReceiver.dataReceived(self, data)

    def allContentReceived(self) -> None:
        self._arriving = False
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        super().requestDone(request)
        if self.persistent and not self._handlingRequest:
            self.setTimeout(IDLE_S)


class BoundedRequest(WebRequest):
    """A request whose body is of a bounded size, and is nobody's form."""

    _parsePOSTFormSubmission = False
    _received = 0

    @property
    def _max_body(self) -> int:
        limit: int = self.channel.factory.max_body
        return limit

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received <= self._max_body:
            super().handleContentChunk(data)
        elif self._received > self._max_body + LINGER_BYTES:
            self.channel.forceAbortClient()

    def process(self) -> Any:
        if self._received <= self._max_body:
            return super().process()
        self.content.truncate(0)
        self.handle_reply(
            {
                "type": "http.response.start",
                "status": 413,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(TOO_LARGE)).encode()),
                    (b"connection", b"close"),
                ],
            }
        )
        self.handle_reply({"type": "http.response.body", "body": TOO_LARGE})
        return None


class BoundedFactory(HTTPFactory):
    """Makes the connections.

    request_s: seconds within which a request has to arrive
    max_body:  bytes of the largest body
    """

    # daphne wraps the channel in one that can change over to HTTP/2, which this server does not speak.
    protocol = PromptChannel

    def __init__(self, server: Any, request_s: float, max_body: int) -> None:
        super().__init__(server)
        self.request_s = request_s
        self.max_body = max_body

    def buildProtocol(self, addr: IAddress) -> Any:
        channel = super().buildProtocol(addr)
        channel.requestFactory = BoundedRequest
        return channel


class Inflow(asyncio.Queue[dict[str, Any]]):
    """What has been read of a WebSocket and not been taken yet. While it is full, the socket is not read."""

    def __init__(self, transport: Any, max_bytes: int) -> None:
        super().__init__()
        self._transport = transport
        self._max_bytes = max_bytes
        self._bytes = 0
        self._paused = False

    def _put(self, item: dict[str, Any]) -> None:
        super()._put(item)
        self._bytes += _size(item)
        if not self._paused and (self.qsize() > QUEUE_MESSAGES or self._bytes > self._max_bytes):
            self._paused = True
            self._transport.pauseProducing()

    def _get(self) -> dict[str, Any]:
        item: dict[str, Any] = super()._get()
        self._bytes -= _size(item)
        if self._paused and self.qsize() <= QUEUE_MESSAGES // 2 and self._bytes <= self._max_bytes // 2:
            self._paused = False
            self._transport.resumeProducing()
        return item


def _size(message: dict[str, Any]) -> int:
    return len(message.get("text") or message.get("bytes") or "")
