"""Who may open a connection: what every way in asks before it lets a client in."""

import math
import time
from collections.abc import Callable, Sequence

from events.conf import AccessLimits
from events.limits.address import limit_key
from events.limits.arrivals import Arrivals
from events.limits.tally import Tally
from events.origins import Headers, header, host_allowed, origin_allowed


class Refused(Exception):
    """A client is not let in.

    rule:    what it broke, from the small fixed set of `Gate`; it is counted under this name
    status:  the HTTP status that says so
    message: what is wrong and how to mend it; short enough for a close frame, where it is `for_now`
    """

    def __init__(self, rule: str, status: int, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.status = status
        self.message = message

    @property
    def for_now(self) -> bool:
        """The same request can succeed later."""
        return self.status in (429, 503)


def _ignore(_rule: str) -> None:
    """Counts nothing."""


class Gate:
    """The rules, how many clients are in, and how fast new ones come.

    hosts:   names under which clients may reach this server, as in `ALLOWED_HOSTS`
    origins: origins of web pages that may connect; `*` for any; empty for the server's own only
    limits:  how many clients may be connected
    count:   told the rule of each refusal
    """

    def __init__(
        self,
        hosts: Sequence[str] = ("*",),
        origins: Sequence[str] = ("*",),
        limits: AccessLimits | None = None,
        count: Callable[[str], None] = _ignore,
    ) -> None:
        limits = limits or AccessLimits()
        self.count = count
        self._hosts = hosts
        self.origins = origins
        self._clients = Tally(limits.connections, limits.per_address)
        self.arrivals = Arrivals(limits.new_per_s, limits.new_at_once)

    def check(self, headers: Headers) -> None:
        """Raises `Refused` for a request that names another server, or that comes from a page which may not connect."""
        if not host_allowed(headers, self._hosts):
            name = header(headers, b"host")[:256]
            raise self._refusal("host", 400, f"Host not allowed: {name!r} is not in ALLOWED_HOSTS")
        if not origin_allowed(headers, self.origins):
            raise self._refusal("origin", 403, "Origin not allowed: add it to WS_CORS_ALLOWED_ORIGINS")

    def admit(self, address: str) -> None:
        """Raises `Refused` when there are too many clients, or too many of this address, or when they come too fast."""
        # First of all, and also of those for whom there is no room: to turn them away takes as much work as to let them in.
        wait_s = self.arrivals.come(limit_key(address), time.monotonic())
        if wait_s:
            message = (
                "Your address connects too fast, or sends too much that cannot be read (WS_NEW_CONNECTIONS_PER_S). "
                f"Try again in {math.ceil(wait_s)} s."
            )
            raise self._refusal("new_connections", 429, message)
        if self._clients.is_full():
            message = "The server has as many connections as it takes (WS_MAX_CONNECTIONS). Try again later."
            raise self._refusal("connections", 503, message)
        if self._clients.is_full_for(limit_key(address)):
            message = "Your address has as many connections as it may have (WS_MAX_CONNECTIONS_PER_ADDRESS). Close some."
            raise self._refusal("connections_per_address", 429, message)

    def enter(self, address: str) -> None:
        """A client comes in; `leave` is to be called once when it is gone."""
        self._clients.enter(limit_key(address))

    def offended(self, address: str) -> None:
        """A client sent what cannot be read, or far too much: its address may open fewer connections for a while."""
        self.arrivals.offend(limit_key(address), time.monotonic())

    def leave(self, address: str) -> None:
        """A client that came in is gone."""
        self._clients.leave(limit_key(address))

    def _refusal(self, rule: str, status: int, message: str) -> Refused:
        self.count(rule)
        return Refused(rule, status, message)
