"""How many TCP connections are taken, whatever comes over them. With real sockets: `tests/system/test_limits.py`."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import orjson
import pytest

from events import tcp_door
from events.conf import AccessLimits
from events.limits.address import Network
from events.limits.arrivals import Arrivals
from events.tcp_door import NEW_PER_CLIENT, PER_CLIENT, RESERVE, TcpDoor
from tests.fanout.support import until

HERE = "127.0.0.1"
PROXIES = (ip_network("10.0.0.0/8"),)


class Visitors:
    """A door for `connections` in all and `per_address` of each address, and those who come to it."""

    def __init__(
        self,
        connections: int = 100 * PER_CLIENT,
        per_address: int = PER_CLIENT,
        proxies: Sequence[Network] | None = None,
        new_per_s: float = 250.0,
    ) -> None:
        self.refused: list[str] = []
        limits = AccessLimits(connections=connections // PER_CLIENT, per_address=per_address // PER_CLIENT, new_per_s=new_per_s)
        self.clients = Arrivals(new_per_s, 1_000)
        self.door = TcpDoor(limits, self.clients, proxies, self.refused.append)

    def come(self, *addresses: str) -> int:
        """How many of them are let in."""
        return sum(self.door.hears(address) and self.door.enter(address) is None for address in addresses)


def test_an_address_gets_two_connections_for_each_client_that_it_may_have() -> None:
    visitors = Visitors(per_address=4)
    assert visitors.come(*["192.0.2.1"] * 5) == 4
    assert visitors.refused == ["connections_per_address"]
    assert visitors.come("192.0.2.2", "::ffff:192.0.2.1") == 1
    visitors.door.leave("192.0.2.1")
    assert visitors.come(*["192.0.2.1"] * 2) == 1


def test_a_network_of_ipv6_counts_as_one_address_and_this_machine_as_none() -> None:
    visitors = Visitors()
    assert visitors.come(*[f"2001:db8:1:2::{number}" for number in range(1, 4)]) == 2
    assert visitors.come("2001:db8:1:3::1") == 1
    assert visitors.come(*[HERE, "::1"] * 5) == 10


@pytest.mark.parametrize(
    ("proxies", "address", "let_in"),
    [
        (None, "10.0.0.1", 2),
        (PROXIES, "10.0.0.1", 5),
        (PROXIES, "::ffff:10.0.0.1", 5),
        (PROXIES, "192.0.2.1", 2),
        ((), "192.0.2.1", 5),
    ],
)
def test_connections_of_proxies_are_of_many_clients(proxies: Sequence[Network] | None, address: str, let_in: int) -> None:
    visitors = Visitors(proxies=proxies)
    assert visitors.come(*[address] * 5) == let_in
    for _ in range(let_in):
        visitors.door.leave(address)
    assert visitors.come(*[address] * 5) == let_in


def test_a_full_server_still_hears_health_checks_of_its_own_machine() -> None:
    visitors = Visitors(connections=4, proxies=PROXIES)
    assert visitors.come(*[f"192.0.2.{number}" for number in range(6)]) == 4
    assert visitors.come("10.0.0.1") == 0
    assert visitors.come(HERE, "::1") == 2
    # Whoever they are: there is a bound to them as well.
    assert visitors.come(*[HERE] * RESERVE) == RESERVE - 2
    assert set(visitors.refused) == {"connections"}
    for _ in range(RESERVE):
        visitors.door.leave(HERE)
    assert visitors.come("192.0.2.9") == 0
    visitors.door.leave("192.0.2.1")
    assert visitors.come("192.0.2.9") == 1


def test_an_address_that_comes_and_goes_too_fast_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("events.tcp_door.time.monotonic", lambda: now)
    visitors = Visitors(per_address=1_000, new_per_s=3.0)

    def come_and_go(address: str) -> int:
        let_in = visitors.come(address)
        for _ in range(let_in):
            visitors.door.leave(address)
        return let_in

    burst = 500 * NEW_PER_CLIENT
    assert sum(come_and_go("192.0.2.1") for _ in range(burst + 10)) == burst
    assert visitors.refused == ["new_connections"] * 10
    assert come_and_go("192.0.2.2") == come_and_go(HERE) == 1
    now += 1.0
    assert sum(come_and_go("192.0.2.1") for _ in range(100)) == 3 * NEW_PER_CLIENT


def test_an_address_whose_clients_come_far_too_fast_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("events.tcp_door.time.monotonic", lambda: now)
    visitors = Visitors(proxies=PROXIES)
    for address in ("192.0.2.1", "10.0.0.1"):
        for _ in range(1_000 + 200):
            visitors.clients.heard(address, now)
            visitors.clients.come(address, now)
    # A proxy's are of many.
    assert [visitors.come(address) for address in ("192.0.2.1", "10.0.0.1")] == [0, 1]
    now += 0.1
    assert visitors.come("192.0.2.1") == 1


class Transport:
    """What is said on a connection, and how it ends."""

    connected = 1

    def __init__(self) -> None:
        self.written = b""
        self.told: list[str] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def loseWriteConnection(self) -> None:  # noqa: N802 - Twisted's names
        self.told.append("last word")

    def abortConnection(self) -> None:  # noqa: N802
        self.told.append("cut")


@pytest.mark.parametrize(
    ("connections", "status", "setting"),
    [(2, b"503 Service Unavailable", "WS_MAX_CONNECTIONS"), (8, b"429 Too Many Requests", "WS_MAX_CONNECTIONS_PER_ADDRESS")],
)
async def test_who_is_turned_away_is_told_why_and_has_a_moment_to_go(
    connections: int, status: bytes, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_door, "LEAVE_S", 0.01)
    visitors = Visitors(connections=connections)
    assert visitors.come(*["192.0.2.1"] * 2) == 2
    turned_away: Any = visitors.door.enter("192.0.2.1")
    transport = Transport()
    turned_away.makeConnection(transport)
    head, _, body = transport.written.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 " + status
    assert {b"Retry-After: 10", b"Connection: close", b"Content-Length: %d" % len(body)} <= set(lines)
    assert f"({setting})" in orjson.loads(body)["message"]
    assert transport.told == ["last word"]
    await until(lambda: transport.told == ["last word", "cut"])
