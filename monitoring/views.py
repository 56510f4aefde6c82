"""`GET /health`, `/metrics` and `/status`, for load balancers and monitoring. Never cached; `/metrics` tells of the clients, so
it is for those who may know."""

import time
from collections.abc import Iterable
from typing import Any, Final

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events.access.http import BearerToken, MayReadMetrics, ProtectedView, StaffSession, may_read_metrics, unstored
from events.stats import Health, Unavailable, health, reported, snapshot
from monitoring.prometheus import CONTENT_TYPES, render
from monitoring.serializers import HealthSerializer, MetricsSerializer, ReadySerializer, StatusSerializer, UnavailableSerializer

#: What `/status` says of itself.
SERVER_NAME: Final = "workflow-websocket-server"

#: Formats of `/metrics` by what an `Accept` header calls them.
METRICS_TYPES: Final = {
    "application/json": "json",
    "*/*": "json",
    "application/openmetrics-text": "openmetrics",
    "text/plain": "prometheus",
}

EXAMPLE_HEALTH: Final[dict[str, Any]] = {
    "status": "healthy",
    "timestamp": "2026-01-24T10:00:00.000Z",
    "uptime_seconds": 3600,
    "websocket": {"connected_clients": 5, "total_connections": 127},
    "infrastructure": {
        "status": "healthy",
        "components": {"state": "healthy", "events": "healthy", "emergency": "normal"},
    },
    "details": {},
}

EXAMPLE_METRICS: Final[dict[str, Any]] = {
    "timestamp": "2026-01-24T10:00:00.000Z",
    "uptime_seconds": 3600,
    "connections": {"current": 1, "total": 127},
    "subscriptions": {
        "total": 3,
        "by_client": [{"sid": "abc123", "workflow_count": 2, "bot_count": 1, "strategy_count": 0}],
    },
    "events": {"received": 1543, "sent": 7234, "recent_buffer": 100, "rejected": 2, "failures": 0},
    "processes": [
        {"id": "web-1", "kind": "server", "host": "app-1", "pid": 4711, "uptime_seconds": 3600, "clients": 1},
    ],
    "clients": {"sent": 311, "backlog_bytes": 0, "lagging": 0, "everything": 0},
    "counters": {"gaps": 0, "missed": 0, "repairs": 0, "lagged": 0, "refused": {"body": 3}, "errors": {"missing_field": 1}},
}


class AlwaysJSON(BaseContentNegotiation):
    """JSON whatever the client accepts: a probe that asks for plain text must learn the health, not get a 406."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


@unstored
class UncachedJSON(APIView):
    """What the three views have in common."""

    renderer_classes = [JSONRenderer]
    content_negotiation_class = AlwaysJSON


class OpenView(UncachedJSON):
    """Answers everybody, whatever credentials come with the request."""

    authentication_classes = []
    permission_classes = [AllowAny]


class TellingView(UncachedJSON):
    """Answers everybody, and tells the reasons to those who may read metrics."""

    authentication_classes = [BearerToken, StaffSession]
    permission_classes = [AllowAny]

    def perform_authentication(self, request: Request) -> None:
        """Not now: a balancer must get its answer whatever credentials it sends."""

    def health(self, request: Request) -> tuple[Health, int]:
        """What this request may know, and the status code that says it in short."""
        found = health()
        code = status.HTTP_200_OK if found.healthy else status.HTTP_503_SERVICE_UNAVAILABLE
        return found if may_read_metrics(request) else found.withheld(), code


class HealthView(TellingView):
    """Whether this server can do its work."""

    @extend_schema(
        operation_id="health",
        summary="Health",
        description=(
            "Asks each component for a sign of life. `details` says for each unhealthy one why, and what to do. "
            "For load balancers: 200 means that clients can be sent here. Where authentication is required, the reasons are "
            "only for tokens with the scope `metrics` and for staff; everything else, and the status code, for everybody."
        ),
        tags=["Monitoring"],
        responses={
            200: OpenApiResponse(HealthSerializer, "Healthy."),
            503: OpenApiResponse(HealthSerializer, "Unhealthy: the state store or the event path is down."),
        },
        examples=[OpenApiExample("Healthy", value=EXAMPLE_HEALTH, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        current, code = self.health(request)
        return Response(HealthSerializer(current).data, code)


class ReadyView(TellingView):
    """Whether clients can be sent to this server process now."""

    @extend_schema(
        operation_id="health_ready",
        summary="Readiness",
        description="For load balancers and rolling updates: as `/health`, in one word and one sentence, for the same readers.",
        tags=["Monitoring"],
        responses={200: OpenApiResponse(ReadySerializer, "Ready."), 503: OpenApiResponse(ReadySerializer, "Not ready.")},
    )
    def get(self, request: Request) -> Response:
        current, code = self.health(request)
        return Response(ReadySerializer(current).data, code)


class MetricsView(UncachedJSON, ProtectedView):
    """What the server processes do."""

    permission_classes = [MayReadMetrics]

    @extend_schema(
        operation_id="metrics",
        summary="Metrics",
        description=(
            "Clients, subscriptions and counters over all server processes, whichever of them answers. With "
            "`?format=prometheus` or `?format=openmetrics`, or an `Accept` header that prefers it, in that format."
        ),
        parameters=[OpenApiParameter("format", str, enum=["json", *CONTENT_TYPES])],
        tags=["Monitoring"],
        responses={
            (200, "application/json"): MetricsSerializer,
            (200, "text/plain"): str,
            (200, "application/openmetrics-text"): str,
            400: OpenApiResponse(UnavailableSerializer, "The format is not one of these."),
            401: OpenApiResponse(UnavailableSerializer, "The token is missing or not valid."),
            403: OpenApiResponse(UnavailableSerializer, "The token does not have the scope metrics."),
            503: OpenApiResponse(UnavailableSerializer, "What is known of the server processes cannot be read now."),
        },
        examples=[OpenApiExample("One client", value=EXAMPLE_METRICS, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response | HttpResponse:
        format_name = _metrics_format(request)
        if format_name not in ("json", *CONTENT_TYPES):
            known = ", ".join(("json", *CONTENT_TYPES))
            return Response({"message": f"format must be one of {known}."}, status.HTTP_400_BAD_REQUEST)
        try:
            if format_name != "json":
                return HttpResponse(render(reported(), format_name), content_type=CONTENT_TYPES[format_name])
            current = snapshot()
        except Unavailable as error:
            return Response({"message": f"No metrics now: {error}"}, status.HTTP_503_SERVICE_UNAVAILABLE)
        return Response(MetricsSerializer(current).data)


def _metrics_format(request: Request) -> str:
    """What `?format=` asks for, or else `Accept` likes best. Whoever asks for nothing of the kind gets JSON."""
    accepted = (f"{each.main_type}/{each.sub_type}" for each in request.accepted_types)
    preferred = next((METRICS_TYPES[name] for name in accepted if name in METRICS_TYPES), "json")
    return str(request.GET.get("format", preferred))


class StatusView(OpenView):
    """That a server answers."""

    @extend_schema(
        operation_id="status",
        summary="Status",
        description="Says that the server answers requests, and nothing about its components.",
        tags=["Monitoring"],
        responses={200: StatusSerializer},
    )
    def get(self, request: Request) -> Response:
        return Response(StatusSerializer({"status": "ok", "server": SERVER_NAME, "timestamp": time.time()}).data)
