"""The bodies of `/health`, `/metrics` and `/status`: the guide's fields first, in the guide's order, then what was added."""

from datetime import UTC, datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from events.stats import ClientRow, Component, Health, ProcessReport, Snapshot


@extend_schema_field(OpenApiTypes.DATETIME)
class TimestampField(serializers.ReadOnlyField):
    """Unix seconds as ISO 8601 in UTC with milliseconds."""

    def to_representation(self, value: float) -> str:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


@extend_schema_field(OpenApiTypes.INT)
class UptimeField(serializers.ReadOnlyField):
    """Whole seconds between an object's `started` and its `at`."""

    def __init__(self) -> None:
        super().__init__(source="*")

    def to_representation(self, value: Health | Snapshot | ProcessReport) -> int:
        return max(0, int(value.at - value.started))


def condition(healthy: bool) -> str:
    """The word for it."""
    return "healthy" if healthy else "unhealthy"


# -- /status -----------------------------------------------------------------------------------------------------------


class StatusSerializer(serializers.Serializer[Any]):
    """That a server answers, and which."""

    status = serializers.CharField()
    server = serializers.CharField()
    timestamp = TimestampField()


class UnavailableSerializer(serializers.Serializer[Any]):
    """Why there is no answer."""

    message = serializers.CharField()


# -- /health -----------------------------------------------------------------------------------------------------------


@extend_schema_field({"type": "string", "pattern": "^(un)?healthy$"})
class ConditionField(serializers.ReadOnlyField):
    """`healthy` or `unhealthy`, of a component or of everything."""

    def to_representation(self, value: Component | Health) -> str:
        return condition(value.healthy)


class ComponentsSerializer(serializers.Serializer[Health]):
    """Each part of the infrastructure."""

    state = ConditionField(help_text="The store of shared state.")
    events = ConditionField(help_text="The way of an event from the bus to the clients.")
    emergency = serializers.ChoiceField(["normal", "alert", "halt", "shutdown"], source="emergency.state")


class InfrastructureSerializer(serializers.Serializer[Health]):
    """What the server stands on."""

    status = ConditionField(source="*")
    components = ComponentsSerializer(source="*")


class SocketsSerializer(serializers.Serializer[Health]):
    """Clients of all server processes."""

    connected_clients = serializers.IntegerField()
    total_connections = serializers.IntegerField()


class HealthSerializer(serializers.Serializer[Health]):
    """`GET /health`."""

    status = ConditionField(source="*")
    timestamp = TimestampField(source="at")
    uptime_seconds = UptimeField()
    websocket = SocketsSerializer(source="*")
    infrastructure = InfrastructureSerializer(source="*")
    details = serializers.SerializerMethodField(help_text="For each unhealthy component: why, and what to do.")

    def get_details(self, health: Health) -> dict[str, str]:
        components = {"state": health.state, "events": health.events, "process": health.process}
        details = {name: component.detail for name, component in components.items() if not component.healthy}
        if health.emergency.reason:
            details["emergency"] = health.emergency.reason
        return details


class ReadySerializer(serializers.Serializer[Health]):
    """`GET /health/ready`."""

    status = serializers.SerializerMethodField(help_text="ready or not ready")
    reason = serializers.SerializerMethodField(help_text="Why not; empty when ready.")

    def get_status(self, health: Health) -> str:
        return "ready" if health.healthy else "not ready"

    def get_reason(self, health: Health) -> str:
        unhealthy = (part.detail for part in (health.process, health.state, health.events) if not part.healthy)
        return next(unhealthy, "")


# -- /metrics ----------------------------------------------------------------------------------------------------------


class ConnectionsSerializer(serializers.Serializer[Snapshot]):
    """Connections of all server processes."""

    current = serializers.SerializerMethodField()
    total = serializers.IntegerField(source="totals.connections", help_text="Since the counters began.")

    def get_current(self, snapshot: Snapshot) -> int:
        return len(snapshot.clients)


class ClientSubscriptionsSerializer(serializers.Serializer[ClientRow]):
    """How much one client subscribed to."""

    sid = serializers.CharField()
    workflow_count = serializers.IntegerField(source="workflows")
    bot_count = serializers.IntegerField(source="bots")
    strategy_count = serializers.IntegerField(source="strategies")


class SubscriptionsSerializer(serializers.Serializer[Snapshot]):
    """Subscriptions of all clients. A client that subscribed to everything counts one for it in `total`."""

    total = serializers.SerializerMethodField()
    by_client = ClientSubscriptionsSerializer(many=True, source="clients")

    def get_total(self, snapshot: Snapshot) -> int:
        return sum(client.workflows + client.bots + client.strategies + client.everything for client in snapshot.clients)


class EventCountsSerializer(serializers.Serializer[Snapshot]):
    """Events since the counters began, over all processes."""

    received = serializers.IntegerField(source="totals.received", help_text="Taken from the bus.")
    sent = serializers.IntegerField(source="totals.sent", help_text="Deliveries to clients.")
    recent_buffer = serializers.IntegerField(help_text="Events in the recent buffer of all events.")
    rejected = serializers.IntegerField(source="totals.rejected", help_text="Refused because they were not valid.")
    failures = serializers.IntegerField(
        source="totals.errors", help_text="Commands of clients that were answered with an error."
    )


class ProcessSerializer(serializers.Serializer[ProcessReport]):
    """One live process."""

    id = serializers.CharField(source="process")
    kind = serializers.CharField(help_text="server or runbus")
    host = serializers.CharField()
    pid = serializers.IntegerField()
    uptime_seconds = UptimeField()
    clients = serializers.SerializerMethodField()

    def get_clients(self, report: ProcessReport) -> int:
        return int(report.gauges.get("clients", 0))


class ClientSumsSerializer(serializers.Serializer[Snapshot]):
    """Sums over the connected clients."""

    sent = serializers.SerializerMethodField(help_text="Events delivered to the clients that are connected now.")
    backlog_bytes = serializers.SerializerMethodField(help_text="Output that is not sent yet.")
    lagging = serializers.SerializerMethodField(help_text="Clients that read their history instead of the live feed.")
    everything = serializers.SerializerMethodField(help_text="Clients that subscribed to all events.")

    def get_sent(self, snapshot: Snapshot) -> int:
        return sum(client.sent for client in snapshot.clients)

    def get_backlog_bytes(self, snapshot: Snapshot) -> int:
        return sum(client.backlog_bytes for client in snapshot.clients)

    def get_lagging(self, snapshot: Snapshot) -> int:
        return sum(client.lagging for client in snapshot.clients)

    def get_everything(self, snapshot: Snapshot) -> int:
        return sum(client.everything for client in snapshot.clients)


class CountersSerializer(serializers.Serializer[dict[str, int]]):
    """How often a bound or a repair was needed, over all processes since the counters began."""

    gaps = serializers.IntegerField(help_text="Times that an input of the relay could not read everything.")
    missed = serializers.IntegerField(help_text="Documents known to have been lost on the bus that way.")
    repairs = serializers.IntegerField(help_text="Times that a server read the journal to repair what the fan-out lost.")
    lagged = serializers.IntegerField(help_text="Times that a client fell behind and was caught up.")
    refused = serializers.SerializerMethodField(
        help_text="What was refused, by the rule; rules that refused nothing are missing."
    )
    # The metaclass takes fields out of the class, so that a serializer's own `errors` stays what it is.
    errors = serializers.SerializerMethodField(  # type: ignore[assignment]
        help_text="Commands of clients that were answered with an error, by its code."
    )

    def get_refused(self, totals: dict[str, int]) -> dict[str, int]:
        return _labelled(totals, "refused")

    def get_errors(self, totals: dict[str, int]) -> dict[str, int]:
        return _labelled(totals, "errors")


def _labelled(totals: dict[str, int], name: str) -> dict[str, int]:
    """The counts of one name by their label (`events.fanout.counters`)."""
    return {key.removeprefix(f"{name}:"): count for key, count in sorted(totals.items()) if key.startswith(f"{name}:")}


class MetricsSerializer(serializers.Serializer[Snapshot]):
    """`GET /metrics`."""

    timestamp = TimestampField(source="at")
    uptime_seconds = UptimeField()
    connections = ConnectionsSerializer(source="*")
    subscriptions = SubscriptionsSerializer(source="*")
    events = EventCountsSerializer(source="*")
    processes = ProcessSerializer(many=True)
    clients = ClientSumsSerializer(source="*")
    counters = CountersSerializer(source="totals")
