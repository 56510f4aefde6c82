"""Engine.IO protocol 4: what a request asks for, and the errors that clients know."""

from dataclasses import dataclass
from functools import partial
from typing import Final, Literal
from urllib.parse import parse_qsl

import orjson

from events.protocol.errors import ProtocolError

MAX_QUERY_FIELDS: Final = 50

Transport = Literal["polling", "websocket"]
TransportKind = Literal["http", "websocket"]

_TRANSPORT_OF: Final[dict[TransportKind, Transport]] = {"http": "polling", "websocket": "websocket"}


class RequestError(ProtocolError):
    """A request that cannot be served: HTTP 400 with `body()`, or a WebSocket that is refused."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message

    def body(self) -> bytes:
        """`{"code":…,"message":…}` as Engine.IO clients know it."""
        return orjson.dumps({"code": self.code, "message": self.message})


# One factory per answer, so that every raise has its own traceback: `raise UNKNOWN_SID()`.
UNKNOWN_TRANSPORT: Final = partial(RequestError, 0, "Transport unknown")
UNKNOWN_SID: Final = partial(RequestError, 1, "Session ID unknown")
BAD_HANDSHAKE_METHOD: Final = partial(RequestError, 2, "Bad handshake method")
BAD_REQUEST: Final = partial(RequestError, 3, "Bad request")
UNSUPPORTED_PROTOCOL_VERSION: Final = partial(RequestError, 5, "Unsupported protocol version")


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """What a request asks for: a new session (`sid` is None) or the next step of one."""

    transport: Transport
    sid: str | None


def parse_request(method: str, query_string: bytes, transport_kind: TransportKind) -> EngineRequest:
    """Check a request's method and query; `method` counts for HTTP only. Raises RequestError.

    Whether `sid` names a live session is for the caller to decide.
    """
    query = _parse_query(query_string)
    transport = query.get("transport")
    if transport not in _TRANSPORT_OF.values():
        raise UNKNOWN_TRANSPORT()
    sid = query.get("sid") or None
    if transport_kind == "http" and method != "GET" and (method != "POST" or sid is None):
        raise BAD_HANDSHAKE_METHOD()
    if transport != _TRANSPORT_OF[transport_kind]:
        raise BAD_REQUEST()
    if query.get("EIO") != "4":
        raise UNSUPPORTED_PROTOCOL_VERSION()
    return EngineRequest(_TRANSPORT_OF[transport_kind], sid)


def _parse_query(query_string: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        raise BAD_REQUEST() from None
