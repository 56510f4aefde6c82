"""The client behind a proxy: what a request says of it, believed only when the proxy is one of ours."""

from collections.abc import Sequence
from typing import Any

from events.limits.address import Network, is_within, parse_address
from events.origins import header

#: What a proxy says of the client; from anybody else these are removed.
_TOLD = frozenset({b"x-real-ip", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"})


def behind_proxy(scope: dict[str, Any], trusted: Sequence[Network]) -> dict[str, Any]:
    """The scope of a request as the proxy got it: its `client` is the one in `X-Real-IP`.

    `trusted`: the networks of our proxies; without any, whoever connects is one. What others say of themselves is removed,
    so that nothing further on believes it.
    """
    address = (scope.get("client") or ("",))[0]
    # Without an address the connection is a Unix socket, which nobody else can reach.
    if address and trusted and not is_within(address, trusted):
        return scope | {"headers": [pair for pair in scope["headers"] if pair[0] not in _TOLD]}
    told = parse_address(header(scope["headers"], b"x-real-ip"))
    return scope if told is None else scope | {"client": (str(told), 0)}
