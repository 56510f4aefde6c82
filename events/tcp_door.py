"""How many TCP connections there are, whatever comes over them: also those over which nothing has come yet.

The gate (`events.gate`) counts clients, and knows of one once it has asked for something.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
from twisted.internet.protocol import Protocol

from events.conf import AccessLimits
from events.limits.address import Network, is_within, limit_key
from events.limits.tally import Tally

#: A client of long-polling has two.
PER_CLIENT: Final = 2

#: So many more may come from this machine, as its health checks do: a process that is merely full must not be taken for a dead
#: one and be restarted.
RESERVE: Final = 100

#: Who was turned away has so long to go.
LEAVE_S: Final = 1.0

#: Rules, the statuses that say so, and the settings.
_ANSWERS: Final = {
    "connections": (b"503 Service Unavailable", "WS_MAX_CONNECTIONS"),
    "connections_per_address": (b"429 Too Many Requests", "WS_MAX_CONNECTIONS_PER_ADDRESS"),
}


class TcpDoor:
    """Counts connections, in all and of each address. From this machine a few more may come than there may be in all.

    proxies: networks of proxies, whose connections are of many clients; empty when every address may be one; None without any
    refused: told the rule by which a connection was not taken
    """

    def __init__(self, limits: AccessLimits, proxies: Sequence[Network] | None, refused: Callable[[str], None]) -> None:
        self._tally = Tally(PER_CLIENT * limits.connections, PER_CLIENT * limits.per_address)
        self._proxies = proxies
        self._refused = refused

    def enter(self, address: str) -> Protocol | None:
        """Take one in, and return None; `leave` is to be called once when it is gone. One that is too many is not counted: it
        is to get the protocol that is returned, which says so and ends it."""
        rule = self._broken_rule(address)
        if rule:
            self._refused(rule)
            return TurnedAway(rule)
        self._tally.enter(self._key(address))
        return None

    def leave(self, address: str) -> None:
        self._tally.leave(self._key(address))

    def _broken_rule(self, address: str) -> str:
        """What one more from this address would break; empty for nothing."""
        if self._tally.is_full(0 if limit_key(address) else RESERVE):
            return "connections"
        return "connections_per_address" if self._tally.is_full_for(self._key(address)) else ""

    def _key(self, address: str) -> str:
        if self._proxies is not None and (not self._proxies or is_within(address, self._proxies)):
            return ""
        return limit_key(address)


class TurnedAway(Protocol):
    """Answers before anything was asked. What was asked is read nevertheless: unread, it would cost the sender the answer."""

    def __init__(self, rule: str) -> None:
        self._rule = rule

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        status, setting = _ANSWERS[self._rule]
        body = orjson.dumps({"message": f"There are too many connections ({setting}). Close some, or try again later."})
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nRetry-After: 10\r\nConnection: close\r\n"
        transport: Any = self.transport
        transport.write(head % status + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        transport.loseWriteConnection()
        asyncio.get_running_loop().call_later(LEAVE_S, self._cut)

    def _cut(self) -> None:
        transport: Any = self.transport
        if transport.connected:
            transport.abortConnection()
