"""Whose limits an address shares, and which addresses are ours; what a proxy says of a client."""

from ipaddress import ip_network
from typing import Any

import pytest

from events.limits.address import is_within, limit_key
from events.limits.tally import Tally
from events.proxies import behind_proxy


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("127.0.0.2", "127.0.0.2"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_whose_limits(address: str, key: str) -> None:
    assert limit_key(address) == key


def test_networks() -> None:
    ours = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    assert is_within("10.1.2.3", ours)
    assert is_within("2001:db8::1", ours)
    assert not is_within("192.0.2.1", ours)
    assert not is_within("not an address", ours)


def test_a_tally_remembers_only_who_is_there() -> None:
    tally = Tally(limit=10, limit_per_key=2)
    for key in ("a", "a", "b", ""):
        tally.enter(key)
    assert (tally.total, tally.keys) == (4, 2)
    assert tally.is_full_for("a")
    assert not tally.is_full_for("b")
    for key in ("a", "a", "b", ""):
        tally.leave(key)
    assert (tally.total, tally.keys) == (0, 0)


PROXIES = (ip_network("10.0.0.0/8"),)


def scope(peer: str | None, **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"client": (peer, 1234) if peer is not None else None, "headers": [(b"host", b"h"), *pairs]}


@pytest.mark.parametrize(
    ("peer", "trusted", "said", "client"),
    [
        ("10.1.2.3", PROXIES, "192.0.2.7", ("192.0.2.7", 0)),
        ("10.1.2.3", PROXIES, " 2001:db8::7 ", ("2001:db8::7", 0)),
        ("10.1.2.3", PROXIES, "unknown", ("10.1.2.3", 1234)),
        ("203.0.113.5", PROXIES, "192.0.2.7", ("203.0.113.5", 1234)),
        ("203.0.113.5", (), "192.0.2.7", ("192.0.2.7", 0)),
        (None, PROXIES, "192.0.2.7", ("192.0.2.7", 0)),
    ],
)
def test_who_is_behind_a_proxy(peer: str | None, trusted: Any, said: str, client: tuple[str, int]) -> None:
    assert behind_proxy(scope(peer, x_real_ip=said), trusted)["client"] == client


def test_what_strangers_say_of_themselves_is_removed() -> None:
    told = {"x_real_ip": "192.0.2.7", "x_forwarded_proto": "https", "x_forwarded_for": "192.0.2.7"}
    assert behind_proxy(scope("203.0.113.5", **told), PROXIES)["headers"] == [(b"host", b"h")]
    assert len(behind_proxy(scope("10.1.2.3", **told), PROXIES)["headers"]) == 4
