"""The client's side of a subscription, over any number of connections. No I/O: messages in, effects out.

A connection goes like this: `connected`, perhaps `authenticate`, then one subscription after the other, each with the place
where it left off. A subscription is answered by `subscribed`, what is replayed, and `ack`; live events may come in between
for topics that stand already. `authenticate` comes again before a token ends, at any time.

What keeps every event from being lost or doubled:

- A topic's place moves with each event that was handed out, never before it.
- A live event moves only topics that have been acknowledged: while a topic is replayed, live events for other topics may be
  ahead of it.
- An event that some topic's place has passed on this connection is known, and is not handed out again, whichever topic
  brings it.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from workflow_events.errors import AuthenticationFailed, ProtocolError, SubscriptionRefused
from workflow_events.items import Connected, Event, Item, Missed, Snapshot, Subscribed
from workflow_events.topics import Position, Topic, topic_of

#: Errors after which the same subscription can succeed later.
PASSING: Final = frozenset({"history_unavailable", "internal_error", "rate_limited"})

#: Errors about the token of a connection that stands. A new connection asks for a new one.
TOKEN_ENDED: Final = frozenset({"token_expired", "token_revoked"})

#: Errors about a connection that does not come about for now.
LATER: Final = frozenset({"too_many_attempts", "too_many_connections", "authentication_timeout"})

#: Part of a token's remaining life after which another one is asked for.
RENEWAL: Final = 0.8

#: Seconds before a renewal, at least and at most; the former also after one that failed. Timers do not take any number.
RENEWAL_S: Final = (1.0, 86_400.0)

#: A smaller difference of the clocks, in seconds, may as well be the time that the greeting took.
LEAST_SKEW_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text to the server."""

    text: str


@dataclass(frozen=True, slots=True)
class WantToken:
    """Get a token, and hand it to `Conversation.authenticate`."""


@dataclass(frozen=True, slots=True)
class Renew:
    """Do as after `WantToken`, but in so many seconds, and go on receiving meanwhile. `trouble` is what went wrong, if any."""

    in_s: float
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the connection and come back: without a pause if it is `at_once`, and not before so many seconds."""

    reason: str
    at_once: bool = False
    in_s: float = 0.0


Effect = Send | WantToken | Renew | Leave | Item


@dataclass(slots=True)
class _Place:
    """Where a subscription to one topic stands.

    epoch, offset: the last event that was handed out, or that is known to be lost; None before there was any
    confirmed:     `subscribed` has come on this connection, so its place may tell what is known
    live:          it is acknowledged on this connection, so live events of it come in order
    """

    topic: Topic
    epoch: str | None = None
    offset: int = 0
    confirmed: bool = False
    live: bool = False

    def has_passed(self, event: Event) -> bool:
        """Whether the event has been handed out, judging by this topic."""
        return self.confirmed and event.epoch == self.epoch and event.offsets[self.topic.kind] <= self.offset

    def move_to(self, epoch: str, offset: int) -> None:
        """Go on to an offset; back only in another epoch."""
        self.offset = max(self.offset, offset) if epoch == self.epoch else offset
        self.epoch = epoch


class Conversation:
    """One subscriber. The shells feed it what comes, and do what it says before they feed it more.

    settled:   all topics are subscribed to and replayed on this connection
    sent_away: the server has said that it will end this connection, at a moment that it has chosen for this client
    """

    def __init__(
        self,
        topics: Sequence[Topic],
        *,
        types: Iterable[str] | None = None,
        snapshot: bool = False,
        resume: Position | None = None,
        renewable: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """renewable: there will be other tokens; clock: gives Unix seconds."""
        places = resume or {}
        self._places = {topic: _Place(topic, **places.get(topic.name, {})) for topic in topics}
        self._types = None if types is None else list(types)
        self._snapshot = snapshot
        self._renewable = renewable
        self._clock = clock
        self._clock_ahead_s = 0.0
        self._has_token = False
        self.sent_away = False
        self._waiting: list[_Place] = []
        self._asked: _Place | None = None
        self._handlers: Final[dict[str, Callable[[Any], Iterator[Effect]]]] = {
            "connected": self._connected,
            "auth_response": self._authenticated,
            "subscribed": self._subscribed,
            "recent_events": self._replayed,
            "execution_snapshot": self._snapshot_came,
            "workflow_event": self._live,
            "events_missed": self._missed,
            "ack": self._acknowledged,
            "error": self._error,
            "server_draining": self._draining,
            "subscription_revoked": self._revoked,
            "unsubscribed": self._unsubscribed,
        }

    @property
    def settled(self) -> bool:
        return all(place.live for place in self._places.values())

    @property
    def position(self) -> Position:
        """The place after the last event that was handed out. Topics without any are left out."""
        return {
            topic.name: {"epoch": place.epoch, "offset": place.offset}
            for topic, place in self._places.items()
            if place.epoch is not None
        }

    def begin(self) -> None:
        """A new connection is made."""
        for place in self._places.values():
            place.confirmed = place.live = False
        self._waiting = list(self._places.values())
        self._asked = None
        self._has_token = self.sent_away = False

    def authenticate(self, token: str) -> Send:
        """What to send after `WantToken` and `Renew`."""
        return _command("authenticate", {"token": token})

    def receive(self, text: str | bytes) -> Iterator[Effect]:
        """Take one message. Effects are to be carried out while they are iterated: places move with them.

        Raises `AuthenticationFailed`, `SubscriptionRefused` and `ProtocolError`. Messages that are unknown are passed over.
        """
        try:
            message = json.loads(text)
            handler, data = self._handlers.get(message["event"]), message["data"]
        except (ValueError, KeyError, TypeError):
            raise ProtocolError(f"what answers does not speak the protocol: {text[:100]!r}") from None
        if handler is not None:
            yield from handler(data)

    # -- the way in -----------------------------------------------------------------------------------------------------

    def _connected(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        ahead = self._clock() - _seconds(data["server_time"])
        self._clock_ahead_s = ahead if abs(ahead) >= LEAST_SKEW_S else 0.0
        yield Connected(data["sid"])
        if data["auth_required"]:
            yield WantToken()
        else:
            yield from self._subscribe_next()

    def _authenticated(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        if data["success"]:
            self._has_token = True
            if self._renewable and "expires_at" in data:
                yield self._renewal_before(_seconds(data["expires_at"]))
            yield from self._subscribe_next()
        elif self._has_token:
            # The one that was right stays right until it ends.
            yield Renew(RENEWAL_S[0], data["message"])
        else:
            raise AuthenticationFailed(f"The server does not accept the token: {data['message']}.")

    def _renewal_before(self, end: float) -> Renew:
        """In time before a moment of the server's clock."""
        left = end + self._clock_ahead_s - self._clock()
        least, most = RENEWAL_S
        return Renew(min(max(left * RENEWAL, least), most))

    def _subscribe_next(self) -> Iterator[Effect]:
        if self._asked is not None or not self._waiting:
            return
        self._asked = place = self._waiting.pop(0)
        data = {**place.topic.payload, "epoch": place.epoch, "offset": None if place.epoch is None else place.offset}
        if self._types is not None:
            data["types"] = self._types
        if self._snapshot:
            data["snapshot"] = True
        yield _command(place.topic.command, data, place.topic.name)

    def _acknowledged(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        place, answer = self._asked, data["data"]
        if place is None or data["id"] != place.topic.name:
            return
        if "code" in answer:
            yield _refused(place.topic, answer)
            return
        if place.epoch in (None, answer["epoch"]):
            place.move_to(answer["epoch"], answer["offset"])
        place.live, self._asked = True, None
        yield from self._subscribe_next()

    # -- what comes -----------------------------------------------------------------------------------------------------

    def _subscribed(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        if self._asked is not None and topic_of(data) == self._asked.topic:
            place = self._asked
            place.confirmed = True
            yield Subscribed(place.topic.name, place.epoch is not None, bool(data["recovered"]))

    def _replayed(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        if self._asked is not None:
            for fields in data["events"]:
                yield from self._take(Event(fields, replayed=True), [self._asked])

    def _live(self, fields: Mapping[str, Any]) -> Iterator[Effect]:
        yield from self._take(Event(fields), [place for place in self._of(fields) if place.live])

    def _take(self, event: Event, moved: Sequence[_Place]) -> Iterator[Effect]:
        """Hand out an event unless it is known, and move the places of the topics that brought it."""
        known = any(place.has_passed(event) for place in self._of(event.fields))
        for place in moved:
            place.move_to(event.epoch, event.offsets[place.topic.kind])
        if not known:
            yield event

    def _of(self, fields: Mapping[str, Any]) -> list[_Place]:
        """The places of the topics that an event is of."""
        return [place for place in self._places.values() if place.topic.has(fields)]

    def _snapshot_came(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        topic = topic_of(data)
        if topic is not None:
            yield Snapshot(topic.name, data["epoch"], data["offset"], tuple(data["executions"]))

    def _missed(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        place = self._places.get(topic) if (topic := topic_of(data)) else None
        if place is None:
            yield Missed(None, None, None, data.get("count"), data["reason"], data)
            return
        first, last, epoch = data["from"], data["to"], data["epoch"]
        if first is None or last is None:
            # Offsets begin anew, or are not what they were.
            place.epoch, place.offset = epoch, 0
            yield Missed(place.topic.name, None, None, None, data["reason"], data)
        else:
            place.move_to(epoch, last)
            yield Missed(place.topic.name, first, last, last - first + 1, data["reason"], data)

    def _error(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        """Errors of commands come with their `ack`; others are about the connection."""
        code = data.get("code")
        if code in TOKEN_ENDED:
            yield Leave(data["message"], at_once=True)
        elif code == "authentication_unavailable" or (code == "too_many_attempts" and self._has_token):
            yield Renew(max(RENEWAL_S[0], data.get("retry_after", 0.0)), data["message"])
        elif code in LATER:
            yield Leave(data["message"], in_s=data.get("retry_after", 0.0))

    def _draining(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        """The server closes the connection when it is this client's turn; until then events go on coming."""
        self.sent_away = True
        yield from ()

    def _revoked(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        """The token does not cover a subscription any more. One that has ended is told by `error`, and may be renewed."""
        if data["code"] not in TOKEN_ENDED:
            topic = topic_of(data)
            raise SubscriptionRefused("the token does not cover it any more", data["code"], topic.name if topic else "")
        yield from ()

    def _unsubscribed(self, data: Mapping[str, Any]) -> Iterator[Effect]:
        """This client never asks for it: somebody else did."""
        topic = topic_of(data)
        raise SubscriptionRefused("it was ended on the server", data.get("reason", "unsubscribed"), topic.name if topic else "")


def _command(name: str, data: Mapping[str, Any], ack: str | None = None) -> Send:
    message = {"event": name, "data": data} | ({} if ack is None else {"id": ack})
    return Send(json.dumps(message))


def _seconds(timestamp: str) -> float:
    """Unix seconds of an ISO 8601 timestamp."""
    return datetime.fromisoformat(timestamp).timestamp()


def _refused(topic: Topic, answer: Mapping[str, Any]) -> Leave:
    if answer["code"] in PASSING:
        return Leave(answer["message"])
    raise SubscriptionRefused(answer["message"], answer["code"], topic.name)
