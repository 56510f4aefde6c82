"""Health in the log: each change once."""

from structlog.testing import capture_logs

from events.health_log import HealthLog


def test_only_changes_are_logged() -> None:
    health = HealthLog()
    with capture_logs() as entries:
        for reasons in (
            {"state": ""},
            {"state": "gone for 1 s"},
            {"state": "gone for 2 s", "events": "deaf"},
            {"events": "deaf"},
        ):
            health.note({"state": "", "events": "", **reasons})
    assert [(entry["event"], entry["log_level"], entry["component"], entry.get("reason")) for entry in entries] == [
        ("component_unhealthy", "warning", "state", "gone for 1 s"),
        ("component_unhealthy", "warning", "events", "deaf"),
        ("component_healthy", "info", "state", None),
    ]
