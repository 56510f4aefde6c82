"""What is fuzzed. Each target takes any bytes; whatever it raises is a finding.

A reader may refuse its input by the one exception that it documents, and by no other. What it takes must hold what it
promises: the assertions say so.
"""

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
from jwt.utils import base64url_encode
from rest_framework.exceptions import ParseError

from events.access.authority import Authority
from events.access.refusal import TokenRefused
from events.access.signed import verify
from events.api import MAX_EVENTS, split_events
from events.commands import CommandHandler
from events.conf import EventsConfig, HistoryLimits, JwtConfig, SessionLimits
from events.domain.event import STAMPED_FIELDS, EventLimits, InvalidEvent, parse_event
from events.fanout.hub import Hub
from events.fanout.session import ClientInfo, Session
from events.fanout.wire import Dialect
from events.history.memory import MemoryHistory
from events.origins import host_allowed, origin_allowed
from events.pipes import PollingPipe
from events.protocol.engineio import (
    EngineConfig,
    EngineSession,
    RequestError,
    decode_packet,
    decode_payload,
    encode_packet,
    encode_payload,
    parse_request,
)
from events.protocol.errors import ProtocolError
from events.protocol.socketio import Connecting, Decoder, SocketIOServer, encode
from events.protocol.websocket import FrameReader, Headers, asks_for_websocket, handshake_answer, handshake_refusal
from events.proxies import behind_proxy
from fuzz.connections import HANDSHAKE, http, sockets

#: Between the frames of one input.
FRAME_END: Final = b"\x00"

Frame = str | bytes


def _frames(data: bytes) -> list[Frame]:
    """One input as the frames of a connection: what is UTF-8 is text, as with a WebSocket."""
    frames: list[Frame] = []
    for part in data.split(FRAME_END)[:20]:
        try:
            frames.append(part.decode())
        except UnicodeDecodeError:
            frames.append(part)
    return frames


def engineio(data: bytes) -> None:
    """Frames of a WebSocket and of a probe."""
    session = EngineSession("sid", EngineConfig(), "polling", 0.0)
    session.begin_upgrade()
    for number, frame in enumerate(_frames(data)):
        try:
            if session.upgrading:
                session.receive_probe(frame)
            else:
                packet = decode_packet(frame)
                assert decode_packet(encode_packet(packet)) == packet
                session.receive(packet, float(number))
        except ProtocolError:
            return


def websocket(data: bytes) -> None:
    """Frames of RFC 6455, in one piece and in parts of the size that the first byte says: what is read is the same."""
    size, stream = data[:1] or b"\x00", data[1:]
    step = size[0] + 1
    at_once = FrameReader(max_frame=1_000, max_message=2_000)
    whole = at_once.feed(stream)
    reader = FrameReader(max_frame=1_000, max_message=2_000)
    parts = [received for place in range(0, len(stream), step) for received in reader.feed(stream[place : place + step])]
    assert parts == whole
    assert reader.asides == at_once.asides
    assert all(len(message) <= 2_000 for message in whole if isinstance(message, str | bytes))


def handshake(data: bytes) -> None:
    """Headers of a request that wants to become a WebSocket, one a line."""
    pairs = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in data.split(b"\n"))]
    headers = Headers(pairs)
    asks_for_websocket(headers)
    if handshake_refusal(b"GET", b"HTTP/1.1", headers) is None:
        (key,) = headers.all(b"sec-websocket-key")
        assert b"\r\n\r\n" not in key
        handshake_answer(key)


def payload(data: bytes) -> None:
    """Bodies of long-polling."""
    try:
        packets = list(decode_payload(data.decode()))
    except (ProtocolError, UnicodeDecodeError):
        return
    assert list(decode_payload(encode_payload([encode_packet(packet) for packet in packets]))) == packets


def request(data: bytes) -> None:
    """Query strings, and the headers that decide who is let in."""
    query, _, headers = data.partition(FRAME_END)
    kinds: tuple[Literal["http", "websocket"], ...] = ("http", "websocket")
    for kind in kinds:
        for method in ("GET", "POST", "PUT"):
            try:
                parse_request(method, query, kind)
            except RequestError as error:
                orjson.loads(error.body())
    host, _, origin = headers.partition(FRAME_END)
    pairs = [(b"host", host), (b"origin", origin)]
    behind_proxy({"client": ("10.0.0.1", 1), "headers": [(b"x-real-ip", origin)]}, ())
    host_allowed(pairs, ("ws.example.com", ".example.org"))
    if origin_allowed(pairs, ("https://dash.example.com",)):
        text = origin.decode("latin-1").lower()
        assert not text or text == "https://dash.example.com" or host.decode("latin-1").lower() in text


def socketio(data: bytes) -> None:
    """Frames of Socket.IO, binary attachments among them."""
    server = SocketIOServer(["/", "/other"], max_bytes=1_000)
    for frame in _frames(data):
        try:
            actions = server.receive(frame)
        except ProtocolError:
            return
        for action in actions:
            if isinstance(action, Connecting):
                server.accept(action.namespace, "sid")


def socketio_codec(data: bytes) -> None:
    """What was decoded can be encoded, and says the same then."""
    decoder = Decoder(max_attachments=10, max_bytes=1_000)
    for frame in _frames(data):
        try:
            packet = decoder.feed(frame)
        except ProtocolError:
            return
        if packet is not None:
            again = Decoder(max_attachments=10, max_bytes=1_000)
            packets = [again.feed(each) for each in encode(packet)]
            assert packets[-1] == packet


def event(data: bytes) -> None:
    """Documents from the bus."""
    try:
        parsed = parse_event(data, EventLimits(max_bytes=10_000, max_id_length=64))
    except InvalidEvent as error:
        assert error.field and error.message
        return
    fields = orjson.loads(parsed.document)
    assert not any(name in fields for name in STAMPED_FIELDS)
    assert f"workflow:{fields['workflow_id']}" in parsed.topics
    # The relay puts its own fields before the last brace.
    orjson.loads(parsed.document[:-1] + b',"event_id":"1","offsets":{}}')


def split(data: bytes) -> None:
    """Bodies of `POST /api/events`."""
    try:
        documents = split_events(data)
    except ParseError as error:
        assert str(error.detail)
        return
    assert 0 < len(documents) <= MAX_EVENTS
    assert all(document in data for document in documents)


JWT: Final = JwtConfig(secret="x" * 32, audience=("a",))


def token(data: bytes) -> None:
    """Signed tokens: a header and claims, with the right signature."""
    header, _, claims = data.partition(FRAME_END)
    signed = b".".join(map(base64url_encode, (header, claims)))
    signature = hmac.digest(JWT.secret.encode(), signed, "sha256")
    try:
        grant = verify(f"{signed.decode()}.{base64url_encode(signature).decode()}", JWT)
    except TokenRefused:
        return
    assert grant.expired(0.0) == (grant.expires_at is not None and grant.expires_at <= 0.0)


_loop: Final = asyncio.new_event_loop()


async def _no_stats() -> dict[str, Any]:
    return {}


def commands(data: bytes) -> None:
    """Commands of a client, with any payload: `name` FRAME_END `JSON`, and so on."""
    _loop.run_until_complete(_carry_out(_frames(data)))


async def _carry_out(frames: list[Frame]) -> None:
    hub = Hub(MemoryHistory(HistoryLimits()), 10)
    config = EventsConfig(auth_tokens=("right",))
    handler = CommandHandler(hub, config, Authority(config), _no_stats)
    session = Session("sid", Dialect.PLAIN, PollingPipe(), SessionLimits(subscriptions=3), ClientInfo(), lambda reason: None)
    running = asyncio.create_task(hub.run())
    await handler.connect(session, {})
    for name, body in zip(frames[::2], frames[1::2], strict=False):
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            value = body if isinstance(body, str) else None
        answer = await handler.handle(session, str(name), value)
        assert answer.get("code") != "internal_error", answer
        orjson.dumps(answer)
    await handler.disconnect(session, "done")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Target:
    """`words` and `seeds` show the fuzzer the way in."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


_EVENT: Final = (
    b'{"type":"node_completed","execution_id":"e1","workflow_id":"w1","bot_id":"b1","timestamp":"2026-01-24T10:00:00.000Z",'
    b'"event_id":"x","offsets":{"all":1},"outputs":{"price":50234.56}}'
)

TARGETS: Final = {
    "engineio": Target(engineio, (b"2probe\x005\x0040\x003\x001", b'2probe\x005\x00\xff\x0042["a",1]'), (b"2probe",)),
    "websocket": Target(
        websocket,
        (
            b"\x00\x81\x81\x00\x00\x00\x00a\x89\x80\x01\x02\x03\x04\x88\x82\x00\x00\x00\x00\x03\xe8",
            b"\x02\x01\x81\x00\x00\x00\x00a\x80\x81\x00\x00\x00\x00b\x82\xfe\x00\x80\x00\x00\x00\x00" + b"x" * 128,
        ),
        (b"\x81\x80", b"\x01\x80", b"\x80\x80", b"\x88\x82", b"\x82\xfe", b"\x82\xff"),
    ),
    "handshake": Target(
        handshake,
        (
            (
                b"Host:a\nUpgrade:websocket\nConnection:keep-alive, Upgrade\nSec-WebSocket-Version:13\n"
                b"Sec-WebSocket-Key:AAAAAAAAAAAAAAAAAAAAAA=="
            ),
        ),
        (b"upgrade", b"websocket", b"sec-websocket-key", b"connection", b"host"),
    ),
    "http": Target(
        http,
        (
            b"\xff" + HANDSHAKE,
            b"\x10POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.0\r\n\r\n",
            b"\x07PUT /a?b HTTP/1.1\r\nTransfer-Encoding:chunked\r\nExpect:100-continue\r\n\r\n2;x\r\n{}\r\n0\r\nA: b\r\n\r\n",
        ),
        (
            b"\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: ",
            b"Upgrade: websocket\r\n",
            b" HTTP/1.1\r\n",
            b"GET /",
        ),
    ),
    "sockets": Target(
        sockets,
        (
            b"\x06\x81\x81\x00\x00\x00\x00a\x89\x80\x01\x02\x03\x04\x88\x82\x00\x00\x00\x00\x03\xe8",
            b"\xff" + b"\x8a\x80\x00\x00\x00\x00" * 21 + b"\x81\x81\x00\x00\x00\x00a",
            b"\x40\x01\x81\x00\x00\x00\x00a" + b"\x00\x80\x00\x00\x00\x00" * 30,
        ),
        (b"\x81\x80", b"\x01\x80", b"\x80\x80", b"\x89\x82", b"\x8a\x80", b"\x82\xfe"),
    ),
    "payload": Target(payload, (b'40\x1e42["a"]\x1ebAQID', b"3"), (b"\x1e", b"b", b"42")),
    "request": Target(
        request,
        (
            b"EIO=4&transport=polling&sid=abc\x00ws.example.com\x00https://dash.example.com",
            b"EIO=4&transport=websocket\x00a.example.org:8001\x00https://a.example.org:8001",
        ),
        (b"EIO=4", b"transport=", b"polling", b"websocket", b"sid=", b"https://", b"null", b"[::1]"),
    ),
    "socketio": Target(
        socketio,
        (
            b'40\x0042["subscribe_workflow",{"workflow_id":"a"}]\x0041',
            b'0\x00451-["x",{"_placeholder":true,"num":0}]\x00\xff\xfe',
            b'0/other,{"token":"t"}\x002/other,12["x"]',
        ),
        (b'"_placeholder":true', b'"num":0', b"51-", b"/other,"),
    ),
    "socketio_codec": Target(
        socketio_codec,
        (
            b'2["a",{"b":[1,2.5,null,true]}]',
            b'51-["x",{"_placeholder":true,"num":0}]\x00\xff\xfe',
            b'3/n,7["ok"]',
            b"62-/a,1[]",
        ),
        (b'"_placeholder":true', b'"num":0', b"52-", b"/n,"),
    ),
    "event": Target(event, (_EVENT,), (b'"event_id"', b'"offsets"', b'"timestamp"', b"2026-01-24T10:00:00Z")),
    "split": Target(split, (b"[" + _EVENT + b"," + _EVENT + b"]", _EVENT, b"[1, 2.50 ,[]]"), (b'"\\u0000"', b"1e999", b"[[[[")),
    "token": Target(
        token,
        (b'{"alg":"HS256","typ":"JWT"}\x00{"sub":"u","aud":"a","scope":"all w:*","exp":99999999999}',),
        (
            b'"exp":',
            b'"nbf":',
            b'"iat":',
            b'"aud":["a"]',
            b'"crit":[]',
            b'"b64":false',
            b"1e999",
            b'"name":',
            b'"scope":["all"]',
        ),
    ),
    "commands": Target(
        commands,
        (
            b'subscribe_workflow\x00{"workflow_id":"w","epoch":"x","offset":3,"types":["a"],"snapshot":true}',
            b'unsubscribe\x00{"type":"bot","id":"b"}\x00authenticate\x00{"token":"right"}\x00request_stats\x00{}',
            b'subscribe_all_bots\x00null\x00subscribe_bot\x00{"botId":"b"}',
        ),
        (b"subscribe_strategy", b"unsubscribe_all_bots", b'"strategy_id"', b'"workflowId"', b'"offset"', b'"types"'),
    ),
}
