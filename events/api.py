"""`POST /api/events`: publish over HTTP."""

import json
import re
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, PolymorphicProxySerializer, extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ParseError, Throttled, UnsupportedMediaType
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from events.access.http import MayPublish, ProtectedView
from events.domain.event import EventLimits, InvalidEvent, parse_event
from events.limits.address import limit_key
from events.limits.rate import KeyedRate, Rate
from events.ports import Unavailable
from events.publish import publish_documents
from events.wiring import server

#: Events in one request. More would hold up the publishers of single events for too long.
MAX_EVENTS: Final = 1_000

#: Seconds after which a publisher may try again when the bus did not take its events.
RETRY_AFTER_S: Final = 1

_SPACE: Final = re.compile(r"[ \t\n\r]*")

# Numbers stay text: only the ends of values matter here, and a number with thousands of digits costs nothing.
_DECODER: Final = json.JSONDecoder(parse_float=str, parse_int=str)


# -- shapes ------------------------------------------------------------------------------------------------------------


class EventSerializer(serializers.Serializer[Any]):
    """One event. Further fields are passed through untouched; so are types that this server does not know."""

    type = serializers.CharField(help_text="What happened, for example node_completed.")
    execution_id = serializers.CharField()
    workflow_id = serializers.CharField()
    timestamp = serializers.DateTimeField(help_text="ISO 8601.")
    bot_id = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    strategy_id = serializers.CharField(required=False, allow_null=True, allow_blank=True)


class AcceptedSerializer(serializers.Serializer[Any]):
    """What the bus took."""

    accepted = serializers.IntegerField(help_text="Number of events.")
    ids = serializers.ListField(child=serializers.CharField(), help_text="The bus's id of each event, in their order.")


class EventErrorSerializer(serializers.Serializer[Any]):
    """What is wrong with one event."""

    index = serializers.IntegerField(help_text="Which event, from 0.")
    field = serializers.CharField()
    message = serializers.CharField()


REFUSED: Final = inline_serializer(  # not a class: a field `errors` would hide a serializer's own attribute
    "Refused", {"message": serializers.CharField(), "errors": EventErrorSerializer(many=True)}
)


class MessageSerializer(serializers.Serializer[Any]):
    """Why the request failed."""

    message = serializers.CharField()


class ScopeMissingSerializer(MessageSerializer):
    """What the token would need."""

    code = serializers.CharField(help_text="insufficient_scope")
    needed = serializers.CharField(help_text="The scope, for example publish or workflow:arb_btc_001.")


EXAMPLE_EVENT: Final = {
    "type": "node_completed",
    "execution_id": "exec_arb_btc_001_a1b2c3d4",
    "workflow_id": "arb_btc_001",
    "bot_id": "bot_001",
    "node_id": "price_binance",
    "timestamp": "2026-01-24T10:00:00.000Z",
    "duration_ms": 45,
    "status": "success",
    "outputs": {"price": 50234.56},
}

EXAMPLE_REFUSAL: Final = {
    "message": "Nothing was published: 1 of 2 events is refused. Event 1: workflow_id is missing.",
    "errors": [{"index": 1, "field": "workflow_id", "message": "workflow_id is missing."}],
}


# -- reading a request -------------------------------------------------------------------------------------------------


class BodyTooLarge(APIException):
    """The request's body is larger than the server takes."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one event of a request is refused."""

    index: int
    field: str
    message: str


def split_events(body: bytes) -> list[bytes]:
    """The JSON text of each event in a body, byte for byte as it was sent. Raises `ParseError` with what to mend.

    A body that does not start with `[` counts as one event, whatever it is; `parse_event` judges it.
    """
    text = body.strip()
    if not text:
        raise ParseError("The body is empty: send one event, or a list of events, as JSON.")
    if not text.startswith(b"["):
        return [text]
    try:
        documents = _elements(text.decode())
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ParseError(f"The body is not valid JSON: {reason}.") from None
    if not documents:
        raise ParseError(f"The list has no events; between 1 and {MAX_EVENTS} are taken in one request.")
    return documents


def check_events(documents: list[bytes], limits: EventLimits) -> list[Refusal]:
    """What is wrong with each event that is not valid; empty when all are."""
    refusals = []
    for index, document in enumerate(documents):
        try:
            parse_event(document, limits)
        except InvalidEvent as error:
            refusals.append(Refusal(index, error.field, error.message))
    return refusals


def _elements(text: str) -> list[bytes]:
    """The text of each element of a JSON array. Parsing and writing it again would change numbers that Python rounds. Raises
    `ParseError` as soon as there are too many: ten megabytes may be millions of them."""
    elements: list[bytes] = []
    position = _after_space(text, 1)
    if text.startswith("]", position):
        return _ended(text, position, elements)
    while True:
        if len(elements) == MAX_EVENTS:
            raise ParseError(f"The list has more than {MAX_EVENTS} events, as many as are taken in one request.")
        _, end = _DECODER.raw_decode(text, position)
        elements.append(text[position:end].encode())
        position = _after_space(text, end)
        if not text.startswith(",", position):
            return _ended(text, position, elements)
        position = _after_space(text, position + 1)


def _ended(text: str, position: int, elements: list[bytes]) -> list[bytes]:
    if not text.startswith("]", position):
        raise json.JSONDecodeError("Expecting ',' or ']'", text, position)
    if _after_space(text, position + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, position + 1)
    return elements


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _read_body(request: Request) -> bytes:
    """The whole body. Read from the stream: `request.body` would refuse what is larger than a form may be, and would not refuse
    anything that comes without a length."""
    limit = max(settings.MAX_EVENTS_BYTES, settings.EVENTS.event.max_bytes)
    body: bytes = request.read(limit + 1)
    if len(body) > limit:
        server.count("refused", "body")
        raise BodyTooLarge(
            f"The body has more than {limit} bytes, as many as a list of events may have, or one event "
            "(WS_MAX_EVENT_BYTES) where that is more: publish fewer events in one request."
        )
    return body


@cache
def _published(per_s: float) -> KeyedRate:
    """What each address has published lately. A request of the largest size must fit into any rate."""
    return KeyedRate(Rate(per_s, max(2 * per_s, MAX_EVENTS)))


def _check_rate(request: Request, events: int) -> None:
    key = limit_key(request.META.get("REMOTE_ADDR", ""))
    rate = settings.EVENTS.access.publish_per_s
    wait_s = _published(rate).take(key, time.monotonic(), events) if key else 0
    if wait_s:
        server.count("refused", "publishing")
        raise Throttled(wait_s, f"Your address publishes more than {rate:g} events per second (WS_PUBLISH_EVENTS_PER_S).")


def _check_media_type(request: Request) -> None:
    media_type = (request.content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        sent = f"not {media_type}" if media_type else "with a Content-Type"
        raise UnsupportedMediaType(
            media_type, f"Events are sent as JSON, {sent}: set the header Content-Type: application/json."
        )


# -- the view ----------------------------------------------------------------------------------------------------------


class PublishView(ProtectedView):
    """Publish events over HTTP."""

    permission_classes = [MayPublish]
    parser_classes = [JSONParser]
    renderer_classes = [JSONRenderer]

    @extend_schema(
        operation_id="publish_events",
        summary="Publish one event or a list of events",
        description=(
            f"Takes one event, or a list of 1 to {MAX_EVENTS}. All are checked before any is published: one bad event refuses "
            "the whole request. The answer comes when the event bus has taken all of them."
        ),
        tags=["Publishing"],
        request=PolymorphicProxySerializer(
            component_name="EventOrEvents",
            serializers=[EventSerializer, EventSerializer(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={
            202: OpenApiResponse(AcceptedSerializer, "The event bus has the events."),
            400: OpenApiResponse(REFUSED, "Nothing was published: the JSON, or an event, is not valid."),
            401: OpenApiResponse(MessageSerializer, "The token is missing or not valid."),
            403: OpenApiResponse(ScopeMissingSerializer, "The token does not have the scope publish."),
            413: OpenApiResponse(MessageSerializer, "The body is too large."),
            415: OpenApiResponse(MessageSerializer, "The body is not declared as JSON."),
            429: OpenApiResponse(
                MessageSerializer,
                "Your address publishes too fast, or has too many requests under way. Try again after `Retry-After` seconds.",
            ),
            503: OpenApiResponse(MessageSerializer, "The event bus cannot be reached. Try again after `Retry-After` seconds."),
        },
        examples=[
            OpenApiExample("One event", value=EXAMPLE_EVENT, request_only=True),
            OpenApiExample(
                "Accepted", value={"accepted": 1, "ids": ["1769248800000-0"]}, response_only=True, status_codes=["202"]
            ),
            OpenApiExample("Refused", value=EXAMPLE_REFUSAL, response_only=True, status_codes=["400"]),
        ],
    )
    def post(self, request: Request) -> Response:
        _check_media_type(request)
        documents = split_events(_read_body(request))
        _check_rate(request, len(documents))
        refusals = check_events(documents, settings.EVENTS.event)
        if refusals:
            return Response(_refused(refusals, len(documents)), status.HTTP_400_BAD_REQUEST)
        ids = publish_documents(documents)
        return Response({"accepted": len(ids), "ids": ids}, status.HTTP_202_ACCEPTED)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Unavailable):
            body = {"message": f"The events were not accepted: {exc}"}
            return Response(body, status.HTTP_503_SERVICE_UNAVAILABLE, headers={"Retry-After": str(RETRY_AFTER_S)})
        response = super().handle_exception(exc)
        if isinstance(exc, ParseError):
            response.data["errors"] = []
        return response


def _refused(refusals: list[Refusal], total: int) -> dict[str, Any]:
    first = refusals[0]
    if total == 1:
        message = f"Nothing was published. {first.message}"
    else:
        verb = "is" if len(refusals) == 1 else "are"
        message = (
            f"Nothing was published: {len(refusals)} of {total} events {verb} refused. Event {first.index}: {first.message}"
        )
    errors = [{"index": refusal.index, "field": refusal.field, "message": refusal.message} for refusal in refusals]
    return {"message": message, "errors": errors}
