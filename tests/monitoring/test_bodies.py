"""The guide's bodies: its names, nesting and order first, then what was added."""

import json

from events.ports import Emergency
from events.stats import Component, Health, Snapshot
from monitoring.serializers import HealthSerializer, MetricsSerializer
from monitoring.views import EXAMPLE_HEALTH, EXAMPLE_METRICS
from tests.monitoring.rows import row, told

#: 2026-01-24T10:00:00Z
NOW = 1_769_248_800.0
WELL = Component(healthy=True, detail="")


def health(state: Component = WELL, events: Component = WELL, emergency: Emergency | None = None) -> Health:
    return Health(
        at=NOW,
        started=NOW - 3600.9,
        state=state,
        events=events,
        emergency=emergency or Emergency(),
        connected_clients=5,
        total_connections=127,
    )


def test_health_is_the_guides() -> None:
    body = """{"status": "healthy", "timestamp": "2026-01-24T10:00:00.000Z", "uptime_seconds": 3600,
        "websocket": {"connected_clients": 5, "total_connections": 127},
        "infrastructure": {"status": "healthy",
            "components": {"state": "healthy", "events": "healthy", "emergency": "normal"}},
        "details": {}}"""
    assert json.dumps(HealthSerializer(health()).data) == json.dumps(json.loads(body))


def test_an_unhealthy_component_says_why() -> None:
    broken = Component(healthy=False, detail="Redis cannot be reached. Start it.")
    body = HealthSerializer(health(state=broken)).data
    assert body["status"] == body["infrastructure"]["status"] == "unhealthy"
    assert body["infrastructure"]["components"] == {"state": "unhealthy", "events": "healthy", "emergency": "normal"}
    assert body["details"] == {"state": "Redis cannot be reached. Start it."}


def test_the_emergency_state_is_shown_with_its_reason() -> None:
    body = HealthSerializer(health(emergency=Emergency("halt", "Exchange is down."))).data
    assert body["infrastructure"]["components"]["emergency"] == "halt"
    assert body["details"] == {"emergency": "Exchange is down."}


def test_metrics_are_the_guides() -> None:
    client = row("abc123", "web-1", workflows=2, bots=1, sent=311)
    totals = dict.fromkeys(TOTALS, 0) | {"connections": 127, "received": 1543, "sent": 7234, "rejected": 2}
    totals |= {"refused:origin": 3, "refused:connections": 1, "errors:missing_field": 1, "events:other": 5}
    web = told("web-1", client, started=NOW - 3600, at=NOW).report
    snapshot = Snapshot(at=NOW, started=NOW - 3600, processes=[web], clients=[client], totals=totals, recent_buffer=100)
    body = """{"timestamp": "2026-01-24T10:00:00.000Z", "uptime_seconds": 3600,
        "connections": {"current": 1, "total": 127},
        "subscriptions": {"total": 3,
            "by_client": [{"sid": "abc123", "workflow_count": 2, "bot_count": 1, "strategy_count": 0}]},
        "events": {"received": 1543, "sent": 7234, "recent_buffer": 100, "rejected": 2, "failures": 0},
        "processes": [{"id": "web-1", "kind": "server", "host": "app-1", "pid": 4711, "uptime_seconds": 3600, "clients": 1}],
        "clients": {"sent": 311, "backlog_bytes": 0, "lagging": 0, "everything": 0},
        "counters": {"gaps": 0, "missed": 0, "repairs": 0, "lagged": 0,
            "refused": {"connections": 1, "origin": 3}, "errors": {"missing_field": 1}}}"""
    assert json.dumps(MetricsSerializer(snapshot).data) == json.dumps(json.loads(body))


def test_the_documented_examples_are_what_is_sent() -> None:
    assert list(HealthSerializer(health()).data) == list(EXAMPLE_HEALTH)
    empty = Snapshot(at=NOW, started=NOW, processes=[], clients=[], totals=dict.fromkeys(TOTALS, 0), recent_buffer=0)
    assert list(MetricsSerializer(empty).data) == list(EXAMPLE_METRICS)


TOTALS = ("connections", "received", "sent", "rejected", "errors", "gaps", "missed", "repairs", "lagged")
