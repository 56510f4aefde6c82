"""How many TCP connections there are, whatever comes over them: also those over which nothing has come yet.

The gate (`events.gate`) counts clients, and knows of one once it has asked for something.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
from twisted.internet.protocol import Protocol

from events.conf import AccessLimits
from events.limits.address import Network, is_within, limit_key
from events.limits.arrivals import Arrivals
from events.limits.tally import Tally

#: A client of long-polling has two.
PER_CLIENT: Final = 2

#: So many connections may come for each new client: requests of other kinds bring their own, and a proxy that nobody has told
#: us of may make one for each request of all its clients.
NEW_PER_CLIENT: Final = 10

#: So many more may come from this machine, as its health checks do: a process that is merely full must not be taken for a dead
#: one and be restarted.
RESERVE: Final = 100

#: Who was turned away has so long to go.
LEAVE_S: Final = 1.0

_TOO_MANY: Final = "There are too many connections ({}). Close some, or try again later."

_TOO_FAST: Final = "Your address opens connections too fast, or sends too much that cannot be read ({}). Try again later."

#: Rules, the statuses that say so, and what is said.
_ANSWERS: Final = {
    "connections": (b"503 Service Unavailable", _TOO_MANY.format("WS_MAX_CONNECTIONS")),
    "connections_per_address": (b"429 Too Many Requests", _TOO_MANY.format("WS_MAX_CONNECTIONS_PER_ADDRESS")),
    "new_connections": (b"429 Too Many Requests", _TOO_FAST.format("WS_NEW_CONNECTIONS_PER_S")),
}


class TcpDoor:
    """Counts connections, in all and of each address, and how fast new ones come. From this machine a few more may come than
    there may be in all.

    clients: how fast clients come, which the gate counts
    proxies: networks of proxies, whose connections are of many clients; empty when every address may be one; None without any
    refused: told the rule by which a connection was not taken
    """

    def __init__(
        self, limits: AccessLimits, clients: Arrivals, proxies: Sequence[Network] | None, refused: Callable[[str], None]
    ) -> None:
        self._tally = Tally(PER_CLIENT * limits.connections, PER_CLIENT * limits.per_address)
        self._arrivals = Arrivals(NEW_PER_CLIENT * limits.new_per_s, NEW_PER_CLIENT * limits.new_at_once)
        self._clients = clients
        self._proxies = proxies
        self._refused = refused

    def hears(self, address: str) -> bool:
        """Whether the next one from this address gets an answer. Of those that come much too fast most get none: they are to be
        closed, which takes a small part of the work. What they are for is not known yet, so that this is also the end of those
        that would not ask for a client, while the clients of the address come too fast."""
        key, now = self.party(address), time.monotonic()
        if self._clients.heard(key, now) and self._arrivals.heard(key, now):
            return True
        self._refused("new_connections")
        return False

    def enter(self, address: str) -> Protocol | None:
        """Take one in, and return None; `leave` is to be called once when it is gone. One that is too many is not counted: it
        is to get the protocol that is returned, which says so and ends it."""
        rule = self._broken_rule(address)
        if rule:
            self._refused(rule)
            return TurnedAway(rule)
        self._tally.enter(self.party(address))
        return None

    def leave(self, address: str) -> None:
        self._tally.leave(self.party(address))

    def _broken_rule(self, address: str) -> str:
        """What one more from this address would break; empty for nothing."""
        key, now = self.party(address), time.monotonic()
        # Also those for whom there is no room count as coming: to tell them so is work, too.
        if self._arrivals.come(key, now):
            return "new_connections"
        if self._tally.is_full(0 if limit_key(address) else RESERVE):
            return "connections"
        return "connections_per_address" if self._tally.is_full_for(key) else ""

    def party(self, address: str) -> str:
        """Whose limits a connection from this address shares; empty for nobody's, as a proxy's are of many clients."""
        if self._proxies is not None and (not self._proxies or is_within(address, self._proxies)):
            return ""
        return limit_key(address)


class TurnedAway(Protocol):
    """Answers before anything was asked. What was asked is read nevertheless: unread, it would cost the sender the answer."""

    def __init__(self, rule: str) -> None:
        self._rule = rule

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        status, message = _ANSWERS[self._rule]
        body = orjson.dumps({"message": message})
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nRetry-After: 10\r\nConnection: close\r\n"
        transport: Any = self.transport
        transport.write(head % status + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        transport.loseWriteConnection()
        asyncio.get_running_loop().call_later(LEAVE_S, self._cut)

    def _cut(self) -> None:
        transport: Any = self.transport
        if transport.connected:
            transport.abortConnection()
