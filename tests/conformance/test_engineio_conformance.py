"""Engine.IO 4 as clients expect it of any server: handshake, messages, heartbeat, closing, upgrade."""

import asyncio
import base64
import time

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conformance.conftest import PING_TIMEOUT_MS, Peer, check_handshake
from tests.system.stack import DEADLINE_S

SEPARATOR = "\x1e"

BAD_QUERIES = ["transport={}", "EIO=abc&transport={}", "EIO=3&transport={}", "EIO=4", "EIO=4&transport=abc", ""]


# -- handshake ---------------------------------------------------------------------------------------------------------


async def test_a_session_opens_over_polling(either: Peer) -> None:
    status, body = await either.request("GET", "EIO=4&transport=polling")
    assert status == 200
    check_handshake(body, ["websocket"])


async def test_a_session_opens_over_websocket(either: Peer) -> None:
    frames = await either.websocket()
    check_handshake(await frames.next_text(), [])


async def test_no_two_sessions_share_an_id(engine: Peer) -> None:
    assert len({await engine.open_polling() for _ in range(20)}) == 20


@pytest.mark.parametrize("query", BAD_QUERIES)
async def test_a_bad_query_opens_nothing(either: Peer, query: str) -> None:
    assert (await either.request("GET", query.format("polling")))[0] == 400
    with pytest.raises(InvalidStatus):
        await either.websocket(query.format("websocket"))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_only_get_opens_a_session(either: Peer, method: str) -> None:
    assert (await either.request(method, "EIO=4&transport=polling"))[0] == 400


async def test_an_unknown_session(either: Peer) -> None:
    assert (await either.poll("nobody"))[0] == 400
    assert (await either.push("nobody", "4x"))[0] == 400
    with pytest.raises(InvalidStatus):
        await either.upgrade("nobody")


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        "4hello",
        SEPARATOR.join(["4test1", "4test2", "4test3"]),
        SEPARATOR.join(["4hello", "bAQIDBA=="]),
        SEPARATOR.join(["bAA==", "4", "b", "4ä€𝄞", "4b64", "b////"]),
        "4" + "x" * 999_990,
        SEPARATOR.join(f"4{number}" for number in range(16)),
    ],
    ids=["one text", "three texts", "text and binary", "odd ones", "nearly the limit", "many"],
)
async def test_polling_sends_and_receives(engine: Peer, payload: str) -> None:
    sid = await engine.open_polling()
    assert await engine.push(sid, payload.encode()) == (200, "ok")
    # A poll that waits is answered with what there is; the rest comes with the next one.
    received: list[str] = []
    while len(received) < len(payload.split(SEPARATOR)):
        received += (await engine.poll_message(sid)).split(SEPARATOR)
    assert SEPARATOR.join(received) == payload


async def test_more_packets_than_one_answer_carries(engine: Peer) -> None:
    """python-engineio's client takes 16 packets at a time; the others come with the next answers, in order."""
    sid = await engine.open_polling()
    packets = [f"4{number}" for number in range(100)]
    await engine.push(sid, SEPARATOR.join(packets))
    received: list[str] = []
    while len(received) < 100:
        answer = (await engine.poll_message(sid)).split(SEPARATOR)
        assert len(answer) <= 16
        received += [packet for packet in answer if packet != "2"]
    assert received == packets


async def test_large_binary_over_polling(engine: Peer) -> None:
    data = bytes(range(256)) * 2_000
    sid = await engine.open_polling()
    packet = "b" + base64.b64encode(data).decode()
    assert await engine.push(sid, packet) == (200, "ok")
    assert await engine.poll_message(sid) == packet


@pytest.mark.parametrize("message", ["4hello", "4", "4ä€𝄞", "4" + "x" * 999_999, b"\x01\x02\x03\x04", b"", bytes(1_000_000)])
async def test_websocket_sends_and_receives(engine: Peer, message: str | bytes) -> None:
    frames = await engine.open_websocket()
    await frames.send(message)
    assert await frames.next_message() == message


async def test_websocket_keeps_the_order_of_text_and_binary(engine: Peer) -> None:
    frames = await engine.open_websocket()
    messages: list[str | bytes] = [f"4{number}" if number % 3 else bytes([number]) * number * 500 for number in range(100)]
    await frames.send(*messages)
    assert await frames.take(100) == messages


@pytest.mark.parametrize("payload", ["abc", "", SEPARATOR, "4ok" + SEPARATOR, "b!", SEPARATOR.join(["4x"] * 1_001)])
async def test_a_bad_payload_closes_the_polling_session(either: Peer, payload: str) -> None:
    sid = await either.open_polling()
    assert (await either.push(sid, payload))[0] == 400
    assert (await either.poll(sid))[0] == 400


@pytest.mark.parametrize("frame", ["abc", "", "7", "é"])
async def test_a_bad_frame_closes_the_websocket(either: Peer, frame: str) -> None:
    frames = await either.open_websocket()
    await frames.send(frame)
    await frames.closed()


@pytest.mark.parametrize("size", [1_000_001, 1_200_000])
async def test_a_frame_over_the_limit_closes_the_websocket(engine: Peer, size: int) -> None:
    frames = await engine.open_websocket()
    try:
        await frames.send("4" + "x" * (size - 1))
    except ConnectionClosed:
        pass  # A server may end it before it has read all of the frame.
    await frames.closed()


async def test_a_body_over_the_limit_is_refused(engine: Peer) -> None:
    sid = await engine.open_polling()
    assert (await engine.push(sid, "4" + "x" * 1_000_000))[0] == 413


async def test_two_polls_at_once_close_the_session(either: Peer) -> None:
    sid = await either.open_polling()
    results = await asyncio.gather(await either.start_poll(sid), either.poll(sid))
    assert (200, "1") in results
    assert sorted(status for status, _ in results) == [200, 400]
    assert (await either.poll(sid))[0] == 400


async def test_a_poll_that_is_given_up_closes_the_session(either: Peer) -> None:
    sid = await either.open_polling()
    poll = await either.start_poll(sid)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    async with asyncio.timeout(DEADLINE_S):
        # Until the server has seen the end of the connection, this is a second poll, which ends the session as well.
        while (await either.poll(sid))[0] != 400:
            # It is not the heartbeat that ends it.
            await either.push(sid, "3")


# -- heartbeat ---------------------------------------------------------------------------------------------------------


async def test_polling_heartbeat(either: Peer) -> None:
    sid = await either.open_polling()
    for _ in range(3):
        assert await either.poll(sid) == (200, "2")
        assert (await either.push(sid, "3"))[0] == 200


async def test_polling_without_a_pong_ends(either: Peer) -> None:
    sid = await either.open_polling()
    assert await either.poll(sid) == (200, "2")
    status, body = await either.poll(sid)
    assert (status, body) in [(200, "1"), (400, body)]
    assert (await either.poll(sid))[0] == 400


async def test_websocket_heartbeat(either: Peer) -> None:
    frames = await either.open_websocket()
    for _ in range(3):
        assert await frames.next() == "2"
        await frames.send("3")


async def test_websocket_without_a_pong_ends(either: Peer) -> None:
    frames = await either.open_websocket()
    started = time.monotonic()
    await frames.closed()
    assert time.monotonic() - started > PING_TIMEOUT_MS / 2000


async def test_traffic_is_no_pong(engine: Peer) -> None:
    """Only a pong shows that the way there and back works."""
    frames = await engine.open_websocket()
    messages = iter(range(10_000))
    closed = asyncio.create_task(frames.closed())
    try:
        while not closed.done():
            await frames.send(f"4{next(messages)}")
            await asyncio.sleep(0.02)
    except ConnectionClosed:
        pass
    await closed


# -- closing -----------------------------------------------------------------------------------------------------------


async def test_closing_while_a_poll_is_open(either: Peer) -> None:
    sid = await either.open_polling()
    poll = await either.start_poll(sid)
    assert await either.push(sid, "1") == (200, "ok")
    assert await poll == (200, "6")
    assert (await either.poll(sid))[0] == 400


async def test_closing_a_websocket(either: Peer) -> None:
    frames = await either.open_websocket()
    await frames.send("1")
    assert await frames.closed() == 1000


# -- upgrade -----------------------------------------------------------------------------------------------------------


async def test_upgrade(engine: Peer) -> None:
    sid = await engine.open_polling()
    frames = await engine.upgrade(sid)
    await frames.send("2probe")
    assert await frames.next() == "3probe"
    assert await engine.poll(sid) == (200, "6")
    await frames.send("5", "4hello")
    assert await frames.next_message() == "4hello"


async def test_upgrade_while_a_poll_is_open(engine: Peer) -> None:
    sid = await engine.open_polling()
    poll = await engine.start_poll(sid)
    frames = await engine.upgrade(sid)
    await frames.send("2probe")
    assert await frames.next() == "3probe"
    assert await poll == (200, "6")
    await frames.send("5", b"\x00")
    assert await frames.next_message() == b"\x00"


async def test_after_the_upgrade_requests_with_the_session_are_refused(either: Peer) -> None:
    sid = await either.open_polling()
    frames = await either.upgrade(sid)
    await frames.send("2probe")
    assert await frames.next() == "3probe"
    await frames.send("5")
    # A ping over the new transport shows that the server has taken the upgrade in.
    assert await frames.next() == "2"
    await frames.send("3")
    assert (await either.poll(sid))[0] == 400
    assert (await either.push(sid, "4x"))[0] == 400
    second = await either.upgrade(sid)
    await second.closed()
    assert await frames.next() == "2"


async def test_a_second_probe_is_closed_and_the_first_goes_on(engine: Peer) -> None:
    sid = await engine.open_polling()
    first = await engine.upgrade(sid)
    await first.send("2probe")
    assert await first.next() == "3probe"
    second = await engine.upgrade(sid)
    await second.closed()
    await first.send("5", "4still here")
    assert await first.next_message() == "4still here"


@pytest.mark.parametrize(
    "frames_sent", [["5"], ["4hello"], ["2probe", "4hello"], ["2probe", "2probe"], ["2"], [b"2probe"], ["abc"]]
)
async def test_a_wrong_step_ends_the_probe_and_polling_goes_on(engine: Peer, frames_sent: list[str | bytes]) -> None:
    sid = await engine.open_polling()
    frames = await engine.upgrade(sid)
    await frames.send(*frames_sent)
    await frames.closed()
    assert await engine.push(sid, "4polling") == (200, "ok")
    assert await engine.poll_message(sid) == "4polling"
    again = await engine.upgrade(sid)
    await again.send("2probe")
    assert await again.next() == "3probe"


@pytest.mark.parametrize("said", [[], ["2probe"]])
async def test_a_probe_that_goes_away(engine: Peer, said: list[str]) -> None:
    sid = await engine.open_polling()
    frames = await engine.upgrade(sid)
    await frames.send(*said)
    await frames.leave()
    assert await engine.push(sid, "4polling") == (200, "ok")
    body = await engine.poll_message(sid)
    assert body in ("4polling", "6")
    if body == "6":
        assert await engine.poll_message(sid) == "4polling"


async def test_a_probe_that_never_finishes_does_not_stop_messages_or_the_heartbeat(engine: Peer) -> None:
    sid = await engine.open_polling()
    frames = await engine.upgrade(sid)
    await frames.send("2probe")
    assert await frames.next() == "3probe"
    for number in range(3):
        await engine.push(sid, f"4{number}")
        body = await engine.poll_message(sid)
        while body == "6":
            body = await engine.poll_message(sid)
        assert body == f"4{number}"


@pytest.mark.parametrize("attempt", range(5))
async def test_upgrade_under_traffic_loses_and_doubles_nothing(engine: Peer, attempt: int) -> None:
    """A client polls and pushes all the while, changes over as socket.io-client does, and goes on."""
    sid = await engine.open_polling()
    polled: list[str] = []
    sent = 0
    stop_polling = asyncio.Event()

    async def poll_until_changed() -> None:
        while not stop_polling.is_set():
            status, body = await engine.poll(sid)
            assert status == 200, body
            for packet in body.split(SEPARATOR):
                if packet == "2":
                    await engine.push(sid, "3")
                elif packet != "6":
                    polled.append(packet)
                else:
                    stop_polling.set()

    async def push(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            packets = SEPARATOR.join(f"4{sent + index}" for index in range(7))
            sent += 7
            assert await engine.push(sid, packets) == (200, "ok")

    polling = asyncio.create_task(poll_until_changed())
    await push(3)
    frames = await engine.upgrade(sid)
    await frames.send("2probe")
    pushing = asyncio.create_task(push(3))
    assert await frames.next() == "3probe"
    await pushing
    await push(1)
    # The client's poll ends with a NOOP, at the latest by the change.
    if not stop_polling.is_set():
        stop_polling.set()
    await polling
    await frames.send("5")
    await frames.send(*(f"4{sent + index}" for index in range(20)))
    sent += 20
    rest = await frames.take(sent - len(polled))
    assert polled + rest == [f"4{number}" for number in range(sent)]


async def test_a_client_that_resets_its_connection(engine: Peer) -> None:
    frames = await engine.open_websocket()
    frames._socket.transport.abort()
    sid = await engine.open_polling()
    poll = asyncio.create_task(engine.http.get(f"{engine.server.url}{engine.path}?EIO=4&transport=polling&sid={sid}"))
    async with await poll as answer:
        assert answer.status == 200
    other = await engine.open_websocket()
    await other.send("4fine")
    assert await other.next_message() == "4fine"


async def test_preflight(engine: Peer) -> None:
    headers = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
    url = f"{engine.server.url}{engine.path}?EIO=4&transport=polling"
    async with engine.http.options(url, headers=headers) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == "http://page.example"


async def test_http_upgrade_request_to_polling(engine: Peer) -> None:
    """A WebSocket that asks for polling, and a plain request that asks for a WebSocket."""
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await engine.http.ws_connect(f"{engine.server.url}{engine.path}?EIO=4&transport=polling")
    assert (await engine.request("GET", "EIO=4&transport=websocket"))[0] == 400
