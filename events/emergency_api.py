"""`GET` and `POST /api/emergency`: the platform's emergency state."""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from events.access.http import Authenticated, MayOperate, ProtectedView, grant_of
from events.emergency import EMERGENCY_STATES, REASON_LENGTH, InvalidEmergency, Unavailable, emergency, set_emergency
from events.fanout import notices

EXAMPLE = {"state": "halt", "reason": "exchange maintenance"}


class EmergencySerializer(serializers.Serializer[Any]):
    """The state. `since` is null for a state that nobody ever set."""

    state = serializers.ChoiceField(EMERGENCY_STATES)
    reason = serializers.CharField(
        required=False, max_length=REASON_LENGTH, allow_blank=True, help_text="Why; needed unless normal."
    )
    since = serializers.DateTimeField(read_only=True, allow_null=True)


class EmergencyRefusedSerializer(serializers.Serializer[Any]):
    """Why nothing was done. `field` names what is wrong with the body."""

    message = serializers.CharField()
    field = serializers.CharField(required=False)


class EmergencyView(ProtectedView):
    """Anybody who is let in may read the state; setting it takes the scope `operate`."""

    parser_classes = [JSONParser]
    renderer_classes = [JSONRenderer]

    def get_permissions(self) -> list[BasePermission]:
        return [MayOperate() if self.request.method == "POST" else Authenticated()]

    @extend_schema(
        operation_id="emergency",
        summary="Read the emergency state",
        tags=["Operating"],
        responses={200: EmergencySerializer, 503: OpenApiResponse(EmergencyRefusedSerializer, "The state cannot be read now.")},
    )
    def get(self, request: Request) -> Response:
        return Response(notices.emergency(emergency()))

    @extend_schema(
        operation_id="set_emergency",
        summary="Set the emergency state",
        description="Every server process knows within two seconds, and tells its clients.",
        tags=["Operating"],
        request=EmergencySerializer,
        responses={
            200: EmergencySerializer,
            400: OpenApiResponse(EmergencyRefusedSerializer, "The state or the reason is not valid."),
            401: OpenApiResponse(EmergencyRefusedSerializer, "The token is missing or not valid."),
            403: OpenApiResponse(EmergencyRefusedSerializer, "The scope operate is missing."),
            503: OpenApiResponse(EmergencyRefusedSerializer, "The state cannot be kept now."),
        },
        examples=[OpenApiExample("Halt", value=EXAMPLE, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        body = request.data if isinstance(request.data, dict) else {}
        try:
            wanted = set_emergency(body.get("state"), body.get("reason", ""), by=_name(request))
        except InvalidEmergency as error:
            return Response({"message": str(error), "field": error.field}, status.HTTP_400_BAD_REQUEST)
        return Response(notices.emergency(wanted))

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Unavailable):
            return Response({"message": f"Not now: {exc}"}, status.HTTP_503_SERVICE_UNAVAILABLE)
        return super().handle_exception(exc)


def _name(request: Request) -> str:
    """Who asks, for the log."""
    if not settings.EVENTS.require_auth:
        return "anybody (no token is required)"
    grant = grant_of(request)
    return grant.name or grant.token_id if grant is not None else "nobody"
