"""Times as they are written to clients."""

from datetime import UTC, datetime


def iso(unix_time: float) -> str:
    """ISO 8601 in UTC with milliseconds: `2026-01-24T10:00:00.000Z`."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
