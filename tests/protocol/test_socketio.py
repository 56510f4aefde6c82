from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.protocol.errors import ProtocolError
from events.protocol.socketio import Ack, Connecting, Disconnected, Event, Send, SocketIOServer

PLACEHOLDER = '{"_placeholder":true,"num":0}'


def fresh() -> SocketIOServer:
    return SocketIOServer(["/", "/custom"])


def joined(*namespaces: str) -> SocketIOServer:
    server = fresh()
    for namespace in namespaces or ("/",):
        server.receive(f"0{namespace},")
        server.accept(namespace, f"sid of {namespace}")
    return server


# -- connecting


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("0", Connecting("/", {})),
        ('0{"token":"123"}', Connecting("/", {"token": "123"})),
        ("0/custom", Connecting("/custom", {})),
        ("0/custom,", Connecting("/custom", {})),
        ('0/custom,{"token":"abc"}', Connecting("/custom", {"token": "abc"})),
        ('0/custom?x=1,{"token":"abc"}', Connecting("/custom", {"token": "abc"})),
        ("0/random", Send(['4/random,{"message":"Invalid namespace"}'])),
    ],
)
def test_a_client_asks_for_a_namespace(text: str, action: Connecting | Send) -> None:
    server = fresh()
    assert server.receive(text) == [action]
    assert server.connected == {}


def test_accepting() -> None:
    server = fresh()
    server.receive("0/custom")
    server.receive("0")
    assert server.accept("/", "s1") == ['0{"sid":"s1"}']
    assert server.accept("/custom", "s2") == ['0/custom,{"sid":"s2"}']
    assert list(server.connected.items()) == [("/", "s1"), ("/custom", "s2")]


def test_only_who_asks_is_accepted() -> None:
    server = fresh()
    with pytest.raises(KeyError):
        server.accept("/", "s1")
    server.receive("0")
    server.accept("/", "s1")
    with pytest.raises(KeyError):
        server.accept("/", "s2")
    assert server.connected == {"/": "s1"}


def test_refusing_and_asking_again() -> None:
    server = fresh()
    server.receive("0")
    assert server.refuse("/", "not you") == ['4{"message":"not you"}']
    assert server.receive("0") == [Connecting("/", {})]
    assert server.refuse("/", "not you", {"code": 7}) == ['4{"message":"not you","data":{"code":7}}']
    assert server.connected == {}


@pytest.mark.parametrize("server", [joined(), joined("/", "/custom")])
def test_a_second_connect_to_a_connected_namespace(server: SocketIOServer) -> None:
    with pytest.raises(ProtocolError):
        server.receive("0")


def test_a_second_connect_while_the_first_is_undecided() -> None:
    server = fresh()
    server.receive("0")
    with pytest.raises(ProtocolError):
        server.receive("0")


# -- packets within a namespace


@pytest.mark.parametrize(
    ("frames", "action"),
    [
        (['2["message",1,"2",{"3":[true]}]'], Event("/", "message", [1, "2", {"3": [True]}], None)),
        (['2456["message"]'], Event("/", "message", [], 456)),
        (["2[5,6]"], Event("/", "5", [6], None)),
        (['2/custom,0["x"]'], Event("/custom", "x", [], 0)),
        ([f'51-789["x",{PLACEHOLDER}]', b"\1"], Event("/", "x", [b"\1"], 789)),
        (['312["ok"]'], Ack("/", 12, ["ok"])),
        ([f"61-12[{PLACEHOLDER}]", b"\1"], Ack("/", 12, [b"\1"])),
    ],
)
def test_what_a_client_says(frames: list[str | bytes], action: Event | Ack) -> None:
    server = joined("/", "/custom")
    assert [server.receive(frame) for frame in frames] == [[]] * (len(frames) - 1) + [[action]]


@pytest.mark.parametrize("text", ['2/custom,["x"]', "3/custom,1[]", "1/custom"])
def test_packets_of_a_namespace_that_is_not_connected(text: str) -> None:
    with pytest.raises(ProtocolError):
        joined("/").receive(text)
    server = fresh()
    server.receive("0/custom")
    with pytest.raises(ProtocolError):
        server.receive(text)


@pytest.mark.parametrize("text", ['4{"message":"x"}', "4"])
def test_errors_are_for_the_server_to_send(text: str) -> None:
    with pytest.raises(ProtocolError, match="CONNECT_ERROR"):
        joined().receive(text)


@pytest.mark.parametrize("text", ["abc", "2{}", '2abc["message-with-ack",1]'])
def test_malformed_packets(text: str) -> None:
    with pytest.raises(ProtocolError):
        joined().receive(text)


def test_the_limits_reach_the_decoder() -> None:
    server = SocketIOServer(["/"], max_attachments=1, max_bytes=2)
    server.receive("0")
    server.accept("/", "s1")
    assert server.receive(f'51-["x",{PLACEHOLDER}]') == []
    with pytest.raises(ProtocolError):
        server.receive(b"\1\2\3")
    with pytest.raises(ProtocolError):
        server.receive('52-["x"]')


# -- leaving


def test_a_client_leaves_one_namespace_and_may_come_back() -> None:
    server = joined("/", "/custom")
    assert server.receive("1/custom") == [Disconnected("/custom")]
    assert list(server.connected) == ["/"]
    assert server.receive('2["x"]') == [Event("/", "x", [], None)]
    assert server.receive("0/custom") == [Connecting("/custom", {})]


def test_putting_a_client_out() -> None:
    server = joined("/", "/custom")
    assert server.disconnect("/custom") == ["1/custom,"]
    assert server.disconnect("/") == ["1"]
    assert server.connected == {}


def test_putting_out_a_client_that_is_connecting() -> None:
    server = fresh()
    server.receive("0")
    server.disconnect("/")
    with pytest.raises(KeyError):
        server.accept("/", "s1")
    assert server.receive("0") == [Connecting("/", {})]


# -- speaking


@pytest.mark.parametrize(
    ("namespace", "args", "ack_id", "frames"),
    [
        ("/", ["auth", {}], None, ['2["auth",{}]']),
        ("/custom", ["auth", {"token": "abc"}], None, ['2/custom,["auth",{"token":"abc"}]']),
        ("/", ["ask", 1], 5, ['25["ask",1]']),
        ("/", ["message-back", b"\1"], None, [f'51-["message-back",{PLACEHOLDER}]', b"\1"]),
    ],
)
def test_events(namespace: str, args: list[Any], ack_id: int | None, frames: list[str | bytes]) -> None:
    assert joined().event(namespace, args[0], args[1:], ack_id) == frames


def test_answers() -> None:
    assert joined().ack("/", 456, (1, "2", {"3": [False]})) == ['3456[1,"2",{"3":[false]}]']
    assert joined().ack("/custom", 0, [b"\1"]) == [f"61-/custom,0[{PLACEHOLDER}]", b"\1"]


# -- any client

TEXTS = [
    *(
        "0",
        "1",
        '2["x"]',
        "31[]",
        "4",
        "0/custom",
        "1/custom",
        '2/custom,1["x"]',
        "0/random",
        "1/random",
        '2["connect"]',
        "abc",
    ),
    *(f'51-["x",{PLACEHOLDER}]', f"61-7[{PLACEHOLDER}]", '50-["x"]'),
]
FRAMES = st.sampled_from(TEXTS) | st.text(st.characters()) | st.binary(max_size=5) | st.builds("0/{}".format, st.text())


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(FRAMES, st.sampled_from(["accept", "refuse", "wait"])), max_size=60))
def test_whatever_arrives_keeps_the_server_in_order_and_small(steps: list[tuple[str | bytes, str]]) -> None:
    server = fresh()
    for frame, answer in steps:
        try:
            actions = server.receive(frame)
        except ProtocolError:
            continue
        assert len(actions) <= 1
        for action in actions:
            if isinstance(action, Connecting) and answer == "accept":
                server.accept(action.namespace, "sid")
            elif isinstance(action, Connecting) and answer == "refuse":
                server.refuse(action.namespace, "no")
            elif isinstance(action, Event | Ack):
                assert action.namespace in server.connected
            elif isinstance(action, Disconnected):
                assert action.namespace not in server.connected
        assert set(server.connected) | set(server._connecting) <= {"/", "/custom"}
        assert not set(server.connected) & set(server._connecting)
