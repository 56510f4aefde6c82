"""Socket.IO 5 as clients expect it of any server: namespaces, events, acknowledgements, attachments, bad packets."""

import asyncio
import json

import pytest

from tests.conformance.conftest import Frames, Peer

SEPARATOR = "\x1e"


async def join(peer: Peer, namespace: str = "", auth: str = "") -> Frames:
    """A client in a namespace, greeted."""
    frames = await peer.open_websocket()
    await connect_to(frames, namespace, auth)
    return frames


async def connect_to(frames: Frames, namespace: str = "", auth: str = "") -> str:
    prefix = f"{namespace}," if namespace else ""
    await frames.send(f"40{prefix}{auth}")
    accepted = await frames.next_message()
    assert isinstance(accepted, str)
    assert accepted.startswith(f"40{prefix}")
    answer = json.loads(accepted.removeprefix(f"40{prefix}"))
    assert set(answer) == {"sid"}
    assert await frames.next_message() == f'42{prefix}["auth",{auth or "{}"}]'
    sid: str = answer["sid"]
    return sid


# -- connecting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["", "/custom"])
@pytest.mark.parametrize("auth", ["", '{"token":"abc"}', '{"token":{"deep":[1,null]}}'])
async def test_connecting(socketio: Peer, namespace: str, auth: str) -> None:
    frames = await socketio.open_websocket()
    assert isinstance(await connect_to(frames, namespace, auth), str)


async def test_each_namespace_has_an_id_of_its_own(socketio: Peer) -> None:
    frames = await socketio.open_websocket()
    sids = {await connect_to(frames), await connect_to(frames, "/custom")}
    assert len(sids) == 2
    await frames.send('42/custom,["message","to custom"]', '42["message","to main"]')
    assert await frames.take(2) == ['42/custom,["message-back","to custom"]', '42["message-back","to main"]']


async def test_the_query_of_a_namespace_is_no_part_of_its_name(socketio: Peer) -> None:
    frames = await socketio.open_websocket()
    await frames.send('40/custom?token=1,{"a":1}')
    accepted = await frames.next_message()
    assert isinstance(accepted, str)
    assert accepted.startswith("40/custom,")


async def test_an_unknown_namespace_is_refused_and_the_connection_stays(socketio: Peer) -> None:
    frames = await socketio.open_websocket()
    await frames.send("40/random")
    assert await frames.next_message() == '44/random,{"message":"Invalid namespace"}'
    await connect_to(frames)


@pytest.mark.parametrize("packet", ["4abc", "4", '42["message","too early"]', "41", "40[]", "40null", "40{", "43[]", b"\x01"])
async def test_a_bad_beginning_ends_the_connection(socketio: Peer, packet: str | bytes) -> None:
    frames = await socketio.open_websocket()
    await frames.send(packet)
    await frames.closed()


async def test_no_handshake_ends_the_connection(socketio: Peer) -> None:
    frames = await socketio.open_websocket()
    await frames.closed()


async def test_over_polling(socketio: Peer) -> None:
    sid = await socketio.open_polling()
    await socketio.push(sid, "40" + SEPARATOR + '42["message","hello"]')
    received: list[str] = []
    while len(received) < 3:
        received += (await socketio.poll_message(sid)).split(SEPARATOR)
    assert received[0].startswith('40{"sid":')
    assert received[1:] == ['42["auth",{}]', '42["message-back","hello"]']


# -- disconnecting -----------------------------------------------------------------------------------------------------


async def test_leaving_the_main_namespace_keeps_the_connection(socketio: Peer) -> None:
    frames = await join(socketio)
    await frames.send("41")
    assert await frames.next() == "2"
    await frames.send("3")
    await connect_to(frames)


async def test_leaving_a_namespace_leaves_the_others(socketio: Peer) -> None:
    frames = await join(socketio)
    await connect_to(frames, "/custom")
    await frames.send("41/custom", '42["message","message to main"]')
    assert await frames.next_message() == '42["message-back","message to main"]'
    await connect_to(frames, "/custom")


# -- events ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", ['1,"2",{"3":[true]}', "null", '"ä€𝄞\\u2028"', "[[[]]]", '""', "1e3"])
async def test_events(socketio: Peer, args: str) -> None:
    frames = await join(socketio)
    await frames.send(f'42["message",{args}]')
    answer = await frames.next_message()
    assert isinstance(answer, str)
    assert answer.startswith("42")
    assert json.loads(answer[2:]) == ["message-back", *json.loads(f"[{args}]")]


async def test_an_event_without_arguments(socketio: Peer) -> None:
    frames = await join(socketio)
    await frames.send('42["message"]')
    assert await frames.next_message() == '42["message-back"]'


async def test_acknowledgements(socketio: Peer) -> None:
    frames = await join(socketio)
    await frames.send('42456["message-with-ack",1,"2",{"3":[false]}]', '420["message-with-ack"]')
    assert await frames.take(2) == ['43456[1,"2",{"3":[false]}]', "430[]"]


async def test_acknowledgements_in_a_namespace(socketio: Peer) -> None:
    frames = await join(socketio, "/custom")
    await frames.send('42/custom,7["message-with-ack","x"]')
    assert await frames.next_message() == '43/custom,7["x"]'


ATTACHED = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'


async def test_attachments(socketio: Peer) -> None:
    frames = await join(socketio)
    await frames.send(f'452-["message",{ATTACHED}]', b"\x01\x02\x03", b"\x04\x05\x06")
    assert await frames.take(3) == [f'452-["message-back",{ATTACHED}]', b"\x01\x02\x03", b"\x04\x05\x06"]


async def test_attachments_with_an_acknowledgement(socketio: Peer) -> None:
    frames = await join(socketio)
    await frames.send(f'452-789["message-with-ack",{ATTACHED}]', b"\x01\x02\x03", b"\x04\x05\x06")
    assert await frames.take(3) == [f"462-789[{ATTACHED}]", b"\x01\x02\x03", b"\x04\x05\x06"]


async def test_attachments_deep_inside_and_out_of_order(socketio: Peer) -> None:
    frames = await join(socketio)
    await frames.send('452-["message",{"a":[{"_placeholder":true,"num":1}],"b":{"_placeholder":true,"num":0}}]', b"0", b"1")
    text, *attachments = await frames.take(3)
    assert isinstance(text, str)
    body = json.loads(text[len("452-") :])[1]
    assert attachments[body["a"][0]["num"]] == b"1"
    assert attachments[body["b"]["num"]] == b"0"


async def test_attachments_over_polling(socketio: Peer) -> None:
    sid = await socketio.open_polling()
    await socketio.push(sid, SEPARATOR.join(["40", f'452-["message",{ATTACHED}]', "bAQID", "bBAUG"]))
    received: list[str] = []
    while len(received) < 5:
        received += (await socketio.poll_message(sid)).split(SEPARATOR)
    assert received[2:] == [f'452-["message-back",{ATTACHED}]', "bAQID", "bBAUG"]


async def test_as_many_attachments_as_are_taken(socketio: Peer) -> None:
    frames = await join(socketio)
    places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
    await frames.send(f'4510-["message",{places}]', *(bytes([number]) for number in range(10)))
    assert await frames.take(11) == [f'4510-["message-back",{places}]', *(bytes([number]) for number in range(10))]


async def test_nothing_comes_between_an_event_and_its_attachments(socketio: Peer) -> None:
    frames = await join(socketio)
    for number in range(30):
        await frames.send(f'452-["message",{ATTACHED}]', bytes([number]) * 10_000, b"x", f'42["message",{number}]')
    for number in range(30):
        assert await frames.take(4) == [
            f'452-["message-back",{ATTACHED}]', bytes([number]) * 10_000, b"x", f'42["message-back",{number}]',
        ]  # fmt: skip


# -- bad packets -------------------------------------------------------------------------------------------------------

PLACEHOLDER = '{"_placeholder":true,"num":0}'

BAD: dict[str, list[str | bytes]] = {
    "unknown type": ["4abc"],
    "type out of range": ["47"],
    "payload of an event is no list": ["42{}"],
    "payload is no JSON": ['42["message'],
    "acknowledgement id is no number": ['42abc["message-with-ack",1,"2",{"3":[false]}]'],
    "acknowledgement id without end": [f'42{"1" * 17}["message-with-ack"]'],
    "no name": ["42[]"],
    "no payload": ["42"],
    "name is an object": ["42[{}]"],
    **{
        f"reserved name {name}": [f'42["{name}"]']
        for name in ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
    },
    "connected already": ["40"],
    "another namespace": ['42/custom,["message"]'],
    "only servers refuse": ['44{"message":"no"}'],
    "disconnect with a payload": ["41{}"],
    "attachment of nothing": [b"\x01"],
    "text instead of an attachment": [f'451-["message",{PLACEHOLDER}]', '42["message"]'],
    "one attachment too many announced": ['4511-["message"]'],
    "attachments without placeholders": ['451-["message"]'],
    "placeholder of nothing": ['450-["message",{"_placeholder":true,"num":0}]'],
    "placeholder out of range": ['451-["message",{"_placeholder":true,"num":1}]'],
    "one placeholder twice": [f'451-["message",{PLACEHOLDER},{PLACEHOLDER}]'],
    "attachments larger than a message may be": [f'452-["message",{ATTACHED}]', bytes(600_000), bytes(600_000)],
    "nesting": ['42["message",' + "[" * 200 + "]" * 200 + "]"],
}


@pytest.mark.parametrize("bad", BAD)
async def test_bad_packets_end_the_connection(socketio: Peer, bad: str) -> None:
    frames = await join(socketio)
    await frames.send(*BAD[bad])
    assert await frames.closed() == 1000


async def test_an_answer_that_nobody_asked_for_is_ignored(socketio: Peer) -> None:
    frames = await join(socketio)
    await frames.send("4312[]", '42["message",1]')
    assert await frames.next_message() == '42["message-back",1]'


async def test_connections_do_not_hear_each_other(socketio: Peer) -> None:
    first, second = await asyncio.gather(join(socketio), join(socketio))
    await first.send('42["message","first"]')
    await second.send('42["message","second"]')
    assert await first.next_message() == '42["message-back","first"]'
    assert await second.next_message() == '42["message-back","second"]'


async def test_the_upgrade_keeps_the_namespaces(socketio: Peer) -> None:
    sid = await socketio.open_polling()
    await socketio.push(sid, SEPARATOR.join(["40", "40/custom,"]))
    received: list[str] = []
    while len(received) < 4:
        received += (await socketio.poll_message(sid)).split(SEPARATOR)
    frames = await socketio.upgrade(sid)
    await frames.send("2probe")
    assert await frames.next() == "3probe"
    await frames.send("5", '42["message",1]', '42/custom,["message",2]')
    assert await frames.take(2) == ['42["message-back",1]', '42/custom,["message-back",2]']
