"""The platform's emergency state: reading and setting it, from views, the admin and management commands."""

import time
from dataclasses import replace
from typing import Final

import structlog

from events.bridge import ask
from events.ports import EMERGENCY_STATES, Emergency, Unavailable
from events.wiring import Adapters, ServerProcess

__all__ = [
    "EMERGENCY_STATES",
    "REASON_LENGTH",
    "Emergency",
    "InvalidEmergency",
    "Unavailable",
    "emergencies",
    "emergency",
    "set_emergency",
]

log = structlog.get_logger("events")

#: Characters of a reason.
REASON_LENGTH: Final = 500


class InvalidEmergency(ValueError):
    """A state that cannot be set. `field` names what is wrong, the message how to mend it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def emergency() -> Emergency:
    """The present state. Raises `Unavailable`."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> Emergency:
        return await adapters.state.emergency()

    return ask(read)


def emergencies() -> list[Emergency]:
    """The last that were set, newest first. Raises `Unavailable`."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> list[Emergency]:
        return await adapters.state.emergencies()

    return ask(read)


def set_emergency(state: object, reason: object, by: str) -> Emergency:
    """Set the state; every server process knows within a second or two, and tells its clients. `by` is who did it, for the
    log and for operators. Raises `InvalidEmergency` and `Unavailable`."""
    wanted = replace(_checked(state, reason), by=by)

    async def write(adapters: Adapters, process: ServerProcess | None) -> None:
        await adapters.state.set_emergency(wanted)

    ask(write)
    log.warning("emergency_set", state=wanted.state, reason=wanted.reason, by=by)
    return wanted


def _checked(state: object, reason: object) -> Emergency:
    if state not in EMERGENCY_STATES:
        raise InvalidEmergency("state", f"state must be one of {', '.join(EMERGENCY_STATES)}.")
    if not isinstance(reason, str):
        raise InvalidEmergency("reason", "reason must be a text.")
    reason = reason.strip()
    if state != "normal" and not reason:
        raise InvalidEmergency("reason", f"reason is missing: say why the state is {state}.")
    if len(reason) > REASON_LENGTH:
        raise InvalidEmergency("reason", f"reason has {len(reason)} characters; at most {REASON_LENGTH} are taken.")
    return Emergency(str(state), reason, time.time())
