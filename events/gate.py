"""Who may open a connection: what every way in asks before it lets a client in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from events.origins import Headers, header, host_allowed, origin_allowed


class Refused(Exception):
    """A client is not let in.

    rule:    what it broke, from the small fixed set of `Gate`; it is counted under this name
    status:  the HTTP status that says so
    message: what is wrong and how to mend it
    """

    def __init__(self, rule: str, status: int, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.status = status
        self.message = message


def _ignore(_rule: str) -> None:
    """Counts nothing."""


@dataclass(frozen=True)
class Gate:
    """hosts:   names under which clients may reach this server, as in `ALLOWED_HOSTS`
    origins: origins of web pages that may connect; `*` for any; empty for the server's own only
    count:   told the rule of each refusal
    """

    hosts: Sequence[str] = ("*",)
    origins: Sequence[str] = ("*",)
    count: Callable[[str], None] = _ignore

    def check(self, headers: Headers) -> None:
        """Raises `Refused` for a request that names another server, or that comes from a page which may not connect."""
        if not host_allowed(headers, self.hosts):
            name = header(headers, b"host")[:256]
            raise self._refusal("host", 400, f"Host not allowed: {name!r} is not in ALLOWED_HOSTS")
        if not origin_allowed(headers, self.origins):
            raise self._refusal("origin", 403, "Origin not allowed: add it to WS_CORS_ALLOWED_ORIGINS")

    def _refusal(self, rule: str, status: int, message: str) -> Refused:
        self.count(rule)
        return Refused(rule, status, message)
