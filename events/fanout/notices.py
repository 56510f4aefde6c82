"""What clients are told of the server itself, beside their events."""

from typing import Any

from events.domain.timestamps import iso
from events.ports import Emergency


def draining(delay_s: float, window_s: float) -> dict[str, Any]:
    """The body of `server_draining` for the client whose connection is closed after `delay_s`."""
    return {
        "message": f"This server process is about to end. Reconnect in {delay_s:.1f} s.",
        "reconnect_in_ms": round(delay_s * 1000),
        "window_ms": round(window_s * 1000),
    }


def emergency(current: Emergency) -> dict[str, Any]:
    """The body of `emergency_state`."""
    return {"state": current.state, "reason": current.reason, "since": iso(current.at) if current.at else None}
