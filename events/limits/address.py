"""Addresses of clients: whose limits they share, and which of them stand behind a proxy."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

#: Addresses whose party is kept at hand: each connection is asked for it some five times.
_KEPT: Final = 4_096

_THIS_MACHINE: Final = (ip_address("127.0.0.1"), ip_address("::1"))


@lru_cache(_KEPT)
def limit_key(address: str) -> str:
    """The party that the per-address limits take an address for; empty for one without limits of its own.

    An IPv6 client has a whole /64 to choose from, so that counts as one. The machine itself (127.0.0.1 and ::1) is not
    limited: health checks, and a proxy that does not tell whom it speaks for, come from there.
    """
    parsed = parse_address(address)
    if parsed is None or parsed in _THIS_MACHINE:
        return ""
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in a text; an IPv4 address also where it is written as IPv6. None for anything else."""
    try:
        parsed = ip_address(text.strip())
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address belongs to one of the networks."""
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in networks)
