"""Health in the log: when a component became unhealthy, and when it was well again."""

from collections.abc import Mapping
from threading import Lock

import structlog

log = structlog.get_logger("events")


class HealthLog:
    """Remembers which components are unhealthy, and logs what changes. Callable from any thread."""

    def __init__(self) -> None:
        self._ill: set[str] = set()
        self._lock = Lock()

    def note(self, reasons: Mapping[str, str]) -> None:
        """Take what was found: the reason of each component by its name, empty for one that is well."""
        with self._lock:
            ill = {name for name, reason in reasons.items() if reason}
            worse, better = ill - self._ill, self._ill - ill
            self._ill = ill
        for name in sorted(worse):
            log.warning("component_unhealthy", component=name, reason=reasons[name])
        for name in sorted(better):
            log.info("component_healthy", component=name)
