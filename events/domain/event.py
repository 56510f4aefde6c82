"""Events as executors publish them: JSON objects with a few common fields, checked here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from events.domain.topics import topics_of

#: Fields that every event has. `timestamp` is ISO 8601.
REQUIRED_FIELDS: Final = ("type", "execution_id", "workflow_id", "timestamp")

#: Fields that the server adds. A publisher's own values under these names are replaced.
STAMPED_FIELDS: Final = frozenset({"event_id", "offsets"})

#: Types that executors publish; any other is passed through like them.
KNOWN_TYPES: Final = frozenset(
    {"execution_started", "node_started", "node_completed", "node_failed", "execution_completed"}
)  # fmt: skip

#: Characters of the id of an execution that a document names which is no event.
EXECUTION_ID_SHOWN: Final = 256

#: Optional ids that make an event a member of a further topic.
OPTIONAL_IDS: Final = ("bot_id", "strategy_id")

_TEXTS: Final = (*REQUIRED_FIELDS, *OPTIONAL_IDS)


@dataclass(frozen=True, slots=True)
class EventLimits:
    """Bounds on one event. `max_bytes` counts its JSON text in UTF-8, `max_id_length` the characters of an id."""

    max_bytes: int = 1_000_000
    max_id_length: int = 256


class InvalidEvent(ValueError):
    """A document that is not an event. `field` names what is wrong, `message` says how to mend it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class Event(NamedTuple):
    """One checked event. A tuple, as one is made for each document.

    document: the publisher's JSON object as UTF-8 text, untouched but for surrounding white space.
    topics:   `all` first, then one topic per id that the event carries.
    fields:   what the document says, as it was read to check it.
    published: Unix time in seconds at which the bus took it; 0 when not known.
    """

    document: bytes
    topics: tuple[str, ...]
    fields: Mapping[str, Any]
    published: float = 0.0


def parse_event(raw: bytes, limits: EventLimits, published: float = 0.0) -> Event:
    """Check one published document. Raises `InvalidEvent`."""
    if len(raw) > limits.max_bytes:
        limit = f"at most {limits.max_bytes} are taken (WS_MAX_EVENT_BYTES)"
        raise InvalidEvent("event", f"The event has {len(raw)} bytes; {limit}.")
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidEvent("event", f"The event is not valid JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise InvalidEvent("event", "The event must be a JSON object.")
    topics = _topics(fields, limits)
    if not STAMPED_FIELDS.isdisjoint(fields):
        raw = orjson.dumps({key: value for key, value in fields.items() if key not in STAMPED_FIELDS})
    return Event(raw.strip(), topics, fields, published)


def execution_id_of(document: bytes) -> str:
    """The execution that a document belongs to as far as it can be told, also of one that is no event; empty when it cannot."""
    try:
        fields = orjson.loads(document)
    except orjson.JSONDecodeError:
        return ""
    found = fields.get("execution_id") if isinstance(fields, dict) else None
    return found[:EXECUTION_ID_SHOWN] if isinstance(found, str) else ""


def encode_event(fields: Mapping[str, Any]) -> bytes:
    """The JSON text of an event given as a mapping; datetimes become ISO 8601 in UTC. Raises `InvalidEvent`."""
    try:
        return orjson.dumps(dict(fields), option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z)
    except TypeError as error:
        raise InvalidEvent("event", f"The event cannot be written as JSON: {error}.") from None


def _topics(fields: dict[str, Any], limits: EventLimits) -> tuple[str, ...]:
    for name in _TEXTS:
        value = fields.get(name)
        if isinstance(value, str) and len(value) <= limits.max_id_length and value.strip():
            continue
        # Executors write "no bot" as null, as an empty string, or not at all.
        if name in REQUIRED_FIELDS or (value is not None and value != ""):
            raise _bad_text(name, value, limits)
    _check_timestamp(fields["timestamp"])
    return topics_of(fields["workflow_id"], fields.get("bot_id") or None, fields.get("strategy_id") or None)


def _bad_text(name: str, value: object, limits: EventLimits) -> InvalidEvent:
    if value is None:
        return InvalidEvent(name, f"{name} is missing.")
    if not isinstance(value, str):
        return InvalidEvent(name, f"{name} must be a string.")
    if not value.strip():
        return InvalidEvent(name, f"{name} must not be empty.")
    limit = f"at most {limits.max_id_length} are taken (WS_MAX_ID_LENGTH)"
    return InvalidEvent(name, f"{name} has {len(value)} characters; {limit}.")


def _check_timestamp(value: str) -> None:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise InvalidEvent("timestamp", "timestamp must be ISO 8601, for example 2026-01-24T10:00:00.000Z.") from None
