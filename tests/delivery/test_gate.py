"""Who may open a connection, by what the request says."""

import pytest

from events.conf import AccessLimits
from events.gate import Gate, Refused
from events.origins import host_allowed
from events.protocol.frames import close_frame

NAMES = ("ws.example.com", ".shop.example", "localhost", "[::1]")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("ws.example.com", True),
        ("WS.Example.COM:8001", True),
        ("ws.example.com.", True),
        ("eu.shop.example", True),
        ("[::1]:8001", True),
        ("evil.example", False),
        ("ws.example.com.evil.example", False),
        ("ws.example.com@evil.example", False),
        ("evil.example/ws.example.com", False),
        ("127.0.0.1", False),
        ("", False),
        ("ws.example.com\x00", False),
    ],
)
def test_names_of_this_server(host: str, expected: bool) -> None:
    assert host_allowed([(b"host", host.encode())], NAMES) is expected


def test_a_request_without_a_name_is_refused_unless_any_name_will_do() -> None:
    assert not host_allowed([], NAMES)
    assert host_allowed([], ("*",))


@pytest.mark.parametrize(
    ("host", "origin", "rule", "status"),
    [
        ("evil.example", "http://evil.example", "host", 400),
        ("ws.example.com", "http://evil.example", "origin", 403),
        ("ws.example.com", "null", "origin", 403),
    ],
)
def test_a_refusal_says_why_and_is_counted(host: str, origin: str, rule: str, status: int) -> None:
    counted: list[str] = []
    gate = Gate(NAMES, (), count=counted.append)
    with pytest.raises(Refused) as refused:
        gate.check([(b"host", host.encode()), (b"origin", origin.encode())])
    assert (refused.value.rule, refused.value.status, counted) == (rule, status, [rule])
    assert {"host": "ALLOWED_HOSTS", "origin": "WS_CORS_ALLOWED_ORIGINS"}[rule] in refused.value.message


def test_the_own_page_passes() -> None:
    Gate(NAMES, ()).check([(b"host", b"ws.example.com:8001"), (b"origin", b"https://WS.example.com:8001")])


def test_there_is_room_for_so_many_clients_and_for_one_more_when_one_leaves() -> None:
    counted: list[str] = []
    gate = Gate(limits=AccessLimits(connections=3, per_address=2), count=counted.append)
    for _ in range(2):
        gate.admit("192.0.2.1")
        gate.enter("192.0.2.1")
    with pytest.raises(Refused, match="WS_MAX_CONNECTIONS_PER_ADDRESS") as address:
        gate.admit("192.0.2.1")
    gate.admit("192.0.2.2")
    gate.enter("192.0.2.2")
    with pytest.raises(Refused, match="WS_MAX_CONNECTIONS") as everybody:
        gate.admit("192.0.2.3")
    assert (address.value.status, everybody.value.status) == (429, 503)
    assert address.value.for_now
    assert everybody.value.for_now
    gate.leave("192.0.2.1")
    gate.admit("192.0.2.1")
    assert counted == ["connections_per_address", "connections"]


def test_the_machine_itself_has_no_limit_per_address() -> None:
    gate = Gate(limits=AccessLimits(per_address=1))
    for _ in range(5):
        gate.admit("127.0.0.1")
        gate.enter("127.0.0.1")


def test_those_for_whom_there_is_no_room_come_too_fast_as_well() -> None:
    gate = Gate(limits=AccessLimits(connections=1, per_address=2, new_per_s=0.001))
    gate.enter("192.0.2.9")
    refusals = [refusal_of(gate, "192.0.2.1") for _ in range(3)]
    assert [refusal.rule for refusal in refusals] == ["connections", "connections", "new_connections"]


def test_what_those_are_told_who_may_come_later_fits_into_a_close_frame() -> None:
    gate = Gate(limits=AccessLimits(connections=2, per_address=1, new_per_s=0.001))
    gate.enter("192.0.2.1")
    refusals = [refusal_of(gate, "192.0.2.1")]
    gate.enter("192.0.2.2")
    refusals += [refusal_of(gate, "192.0.2.3") for _ in range(2)]
    assert [refusal.rule for refusal in refusals] == ["connections_per_address", "connections", "new_connections"]
    for refusal in refusals:
        assert close_frame(1_000, refusal.message).endswith(refusal.message.encode())


def refusal_of(gate: Gate, address: str) -> Refused:
    with pytest.raises(Refused) as refused:
        gate.admit(address)
    return refused.value
