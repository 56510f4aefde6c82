"""Events as JSON, checked as the server checks them."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final

from workflow_events.errors import InvalidEvent

#: Bounds of the server's defaults: bytes of an event, characters of an id.
MAX_EVENT_BYTES: Final = 1_000_000
MAX_ID_LENGTH: Final = 256

_REQUIRED: Final = ("type", "execution_id", "workflow_id", "timestamp")
_OPTIONAL: Final = ("bot_id", "strategy_id")


def timestamp() -> str:
    """Now, as in 2026-01-24T10:00:00.000Z."""
    return iso(datetime.now(UTC))


def iso(time: datetime) -> str:
    """A moment as events have it; one without a time zone is taken as UTC."""
    utc = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode(event: Mapping[str, Any]) -> bytes:
    """The JSON text of an event, one line. Raises `InvalidEvent`.

    Datetimes become ISO 8601, dataclasses objects, sets and tuples lists, NaN and infinity null, and what JSON does not know
    otherwise (decimals, UUIDs, paths) becomes text.
    """
    _check(event)
    try:
        text = _dumps(event)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidEvent("event", f"The event cannot be written as JSON: {error}.") from None
    document = text.encode(errors="replace")
    if len(document) > MAX_EVENT_BYTES:
        raise InvalidEvent("event", f"The event has {len(document)} bytes; at most {MAX_EVENT_BYTES} are taken.")
    return document


def _check(event: Mapping[str, Any]) -> None:
    for name in _REQUIRED:
        _check_text(name, event.get(name))
    for name in _OPTIONAL:
        if event.get(name) not in (None, ""):
            _check_text(name, event[name])
    if not isinstance(event["timestamp"], datetime):
        try:
            datetime.fromisoformat(event["timestamp"])
        except ValueError:
            raise InvalidEvent("timestamp", "timestamp must be ISO 8601, for example 2026-01-24T10:00:00.000Z.") from None


def _check_text(name: str, value: object) -> None:
    if value is None:
        raise InvalidEvent(name, f"{name} is missing.")
    if name == "timestamp" and isinstance(value, datetime):
        return
    if not isinstance(value, str) or not value.strip():
        raise InvalidEvent(name, f"{name} must be a string, and not empty.")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidEvent(name, f"{name} has {len(value)} characters; at most {MAX_ID_LENGTH} are taken.")


def _dumps(event: Mapping[str, Any]) -> str:
    options: dict[str, Any] = {"default": _plain, "separators": (",", ":"), "ensure_ascii": False}
    try:
        return json.dumps(dict(event), allow_nan=False, **options)
    except (ValueError, TypeError):
        # Rare, so it may cost more: numbers that JSON does not have, and keys that are no strings.
        return json.dumps(_mended(dict(event)), **options)


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, set | frozenset) else str(value)


def _mended(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mended(item) for item in value]
    return value if value is None or isinstance(value, str | int) else _mended(_plain(value))
