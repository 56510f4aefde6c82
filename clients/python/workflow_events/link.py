"""What both clients share: the address, the pauses between attempts, what errors mean, and what callers are told."""

import json
import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from workflow_events.conversation import RENEWAL_S, Conversation, Leave, Renew
from workflow_events.errors import AuthenticationFailed, ConnectionFailed, MessageTooLarge, ProtocolError
from workflow_events.items import Disconnected, Event, Item, Missed

log = logging.getLogger("workflow_events")

#: Where the server speaks plain JSON over WebSocket.
PATH: Final = "/ws/events"

#: Seconds before the first repeated attempt, at most, and before any. Each failure doubles the first up to the second.
BACKOFF_S: Final = (0.5, 10.0)

#: Messages that are kept while the caller works; then the socket is not read, and the server waits.
BUFFERED_MESSAGES: Final = 16

#: What ends a connection, and lets another one be tried.
TRANSIENT: Final = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake, ProtocolError)

#: The close code of a client that was sent too large a message.
_TOO_LARGE: Final = 1009


@dataclass(frozen=True, slots=True)
class Link:
    """How to reach a server.

    uri:               of its WebSocket
    max_message_bytes: bound of one message; a replay has up to 500 events in one
    give_up_s:         raise `ConnectionFailed` after so long without a full subscription; None: never
    on_missed:         is told of events that will not come, between the events where they were missed
    """

    uri: str
    max_message_bytes: int
    give_up_s: float | None
    on_missed: Callable[[Missed], object] | None

    @property
    def options(self) -> dict[str, Any]:
        """For `websockets`' connect. Its own keepalive finds dead connections."""
        return {
            "max_size": self.max_message_bytes,
            "max_queue": BUFFERED_MESSAGES,
            "compression": None,
            "close_timeout": 1,
        }


def websocket_uri(url: str) -> str:
    """The address of the plain WebSocket for that of a server, which may have a path of its own. Raises `ValueError`."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(f"url must be the server's address, such as http://localhost:8001; {url!r} is none.")
    path = parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path if path.endswith(PATH) else path + PATH, "", ""))


def given_token(token: str | None) -> str:
    """A token that can be sent. Raises `AuthenticationFailed`."""
    if not token:
        raise AuthenticationFailed("The server wants a token: give one as `token`.")
    return token


def why(error: BaseException) -> Leave:
    """What to say of an error that ended a connection. Raises what no repeat can mend."""
    if isinstance(error, ConnectionClosed):
        if error.sent is not None and error.sent.code == _TOO_LARGE:
            raise MessageTooLarge("A message of the server is larger than max_message_bytes allows: give it more.") from error
        received = error.rcvd
        return Leave(f"the server closed the connection ({received.reason or received.code})" if received else "cut off")
    if isinstance(error, InvalidStatus):
        return Leave(f"the server answers {error.response.status_code}")
    if isinstance(error, ConnectionRefusedError):
        return Leave("nobody answers")
    return Leave(str(error) or type(error).__name__)


class Attempts:
    """Pauses between connections: random, so that clients do not come back all at once, and longer after each failure."""

    def __init__(self, give_up_s: float | None) -> None:
        self._give_up_s = give_up_s
        self._failures = 0
        self._since = time.monotonic()

    def lost(self, leave: Leave, *, settled: bool) -> Disconnected:
        """A connection is over; `settled` says that it had been good. Raises `ConnectionFailed` when it is time to give up."""
        now = time.monotonic()
        if settled:
            self._failures, self._since = 0, now
        elif self._give_up_s is not None and now - self._since >= self._give_up_s:
            raise ConnectionFailed(f"No subscription within {self._give_up_s:g} s: {leave.reason}.")
        first, longest = BACKOFF_S
        pause = random.uniform(0, min(first * 2**self._failures, longest))  # noqa: S311 - spreads load, guards nothing
        self._failures = min(self._failures + 1, 16)
        return Disconnected(leave.reason, 0.0 if leave.at_once else leave.in_s + pause)


class Subscriber:
    """One subscription, less its socket."""

    def __init__(self, link: Link, conversation: Conversation) -> None:
        self.link = link
        self.conversation = conversation
        self.attempts = Attempts(link.give_up_s)
        self._renewal_at = math.inf

    def begin(self) -> None:
        """A new connection is made."""
        self.conversation.begin()
        self._renewal_at = math.inf

    def renew(self, renewal: Renew) -> None:
        """Remember when another token is to be asked for."""
        if renewal.trouble:
            log.warning("no token for %s: %s; again in %g s", self.link.uri, renewal.trouble, renewal.in_s)
        self._renewal_at = time.monotonic() + renewal.in_s

    @property
    def renewal_in_s(self) -> float | None:
        """Seconds until another token is to be asked for, 0 when it is time; None when there is no need."""
        return None if math.isinf(self._renewal_at) else max(0.0, self._renewal_at - time.monotonic())

    def renewing(self) -> None:
        """Another token is asked for now."""
        self._renewal_at = math.inf

    def renewal_failed(self, error: BaseException) -> None:
        """There is no other token for now; the connection goes on with the one that it has."""
        self.renew(Renew(RENEWAL_S[0], str(error) or type(error).__name__))

    def lost(self, leave: Leave) -> Disconnected:
        """A connection is over."""
        if self.conversation.sent_away:
            # The server spreads its clients already.
            leave = replace(leave, at_once=True)
        item = self.attempts.lost(leave, settled=self.conversation.settled)
        log.info("disconnected from %s: %s; again in %.1f s", self.link.uri, item.reason, item.retry_in_s)
        return item

    def event(self, item: Item) -> Event | None:
        """The item if it is an event. Missed ones are told to `on_missed`, or else logged."""
        if isinstance(item, Event):
            return item
        if isinstance(item, Missed):
            if self.link.on_missed is not None:
                self.link.on_missed(item)
            else:
                log.warning("events missed: %s", json.dumps(dict(item.details)))
        return None
