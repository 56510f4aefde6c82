"""`GET /api/executions`: the states of executions, and the events of one."""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import orjson
from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from events.access.http import ProtectedView, grant_of, require_topic
from events.api import RETRY_AFTER_S, MessageSerializer, ScopeMissingSerializer
from events.bridge import ask
from events.domain.execution import Execution
from events.domain.grants import NOTHING, Grant
from events.domain.topics import ALL, KINDS, topic_name
from events.ports import History, Unavailable
from events.subscribe import snapshot_payload
from events.wiring import Adapters, ServerProcess

#: Executions in one answer.
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200

#: Events of one execution in one answer, and how many journal entries are looked through for them.
MAX_EVENTS: Final = 1_000
MAX_SCAN: Final = 20_000

#: Journal entries per read: the server's event loop does other work in between.
PAGE: Final = 250

T = TypeVar("T")


# -- shapes ------------------------------------------------------------------------------------------------------------


class NodeStateSerializer(serializers.Serializer[Any]):
    """One node, as far as the events of its execution tell."""

    node_id = serializers.CharField()
    name = serializers.CharField(allow_null=True)
    category = serializers.CharField(allow_null=True)
    status = serializers.CharField(help_text="running, completed or failed.")
    started = serializers.CharField(allow_null=True, help_text="The publisher's timestamp, ISO 8601.")
    finished = serializers.CharField(allow_null=True)
    duration_ms = serializers.FloatField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    error_type = serializers.CharField(allow_null=True)


COUNTS: Final = inline_serializer(
    "NodeEventCounts",
    {name: serializers.IntegerField() for name in ("started", "completed", "failed")},
)

LAST_EVENT: Final = inline_serializer(
    "LastEvent", {"type": serializers.CharField(), "timestamp": serializers.CharField(allow_null=True)}
)


class ExecutionSerializer(serializers.Serializer[Any]):
    """The state of one execution."""

    execution_id = serializers.CharField()
    workflow_id = serializers.CharField()
    bot_id = serializers.CharField(required=False)
    strategy_id = serializers.CharField(required=False)
    status = serializers.CharField(
        help_text="running, or what its execution_completed said: completed, failed or another word."
    )
    started = serializers.CharField(allow_null=True, help_text="The publisher's timestamp, ISO 8601.")
    finished = serializers.CharField(allow_null=True)
    duration_ms = serializers.FloatField(allow_null=True)
    node_count = serializers.IntegerField(allow_null=True)
    nodes = NodeStateSerializer(many=True, help_text="In the order in which they appeared, the first 500.")
    counts = COUNTS
    error = serializers.CharField(allow_null=True, help_text="The newest failure.")
    last_event = LAST_EVENT
    events = serializers.IntegerField(help_text="How many events it had.")
    first = serializers.IntegerField(help_text="Number of its first event in the journal.")
    last = serializers.IntegerField(help_text="Number of its newest event in the journal.")


class ExecutionsSerializer(serializers.Serializer[Any]):
    """The executions of a topic, newest event first, and the place in the topic at which all of it is true."""

    type = serializers.CharField(help_text="workflow, bot, strategy, or all_bots for everything.")
    workflow_id = serializers.CharField(required=False)
    bot_id = serializers.CharField(required=False)
    strategy_id = serializers.CharField(required=False)
    epoch = serializers.CharField()
    offset = serializers.IntegerField(help_text="Subscribe with this epoch and offset to get what comes after.")
    executions = ExecutionSerializer(many=True)


class ExecutionDetailSerializer(serializers.Serializer[Any]):
    """One execution and its events."""

    execution = ExecutionSerializer()
    complete = serializers.BooleanField(help_text="Whether these are all of its events; otherwise the oldest are missing.")
    events = serializers.ListField(child=serializers.DictField(), help_text="As subscribers got them, oldest first.")


FAILURES: Final = {
    401: OpenApiResponse(MessageSerializer, "The token is missing or not valid."),
    503: OpenApiResponse(MessageSerializer, "The history cannot be read. Try again after `Retry-After` seconds."),
}


# -- reading a request -------------------------------------------------------------------------------------------------


def _topic(request: Request) -> str:
    named = [(kind, request.query_params[kind]) for kind in KINDS if kind in request.query_params]
    if len(named) > 1:
        raise ParseError(f"Name one of {', '.join(KINDS)}, not several.")
    for kind, identifier in named:
        if not identifier.strip():
            raise ParseError(f"{kind} must not be empty.")
        return topic_name(kind, identifier)
    return ALL


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        raise ParseError(f"limit must be a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def _status(request: Request) -> str | None:
    text: str | None = request.query_params.get("status")
    if text is not None and not text.strip():
        raise ParseError("status must not be empty.")
    return text


# -- asking the history ------------------------------------------------------------------------------------------------


def _ask_history(question: Callable[[History], Coroutine[Any, Any, T]]) -> T:
    async def answer(adapters: Adapters, process: ServerProcess | None) -> T:
        if process is None and settings.EVENTS.embedded:
            raise Unavailable("this process has no event history, as REDIS_URL is not set and the server is another process.")
        return await question(adapters.history)

    return ask(answer)


def _events_of(execution: Execution, grant: Grant) -> list[bytes]:
    """The newest documents of an execution, oldest first, as far as the journal and the bounds above reach.

    An execution belongs to a bot when one of its events does; who may read the bot gets the events that do.
    """
    found: deque[bytes] = deque(maxlen=MAX_EVENTS)
    after = max(execution.first, execution.last - MAX_SCAN + 1) - 1
    while after < execution.last:
        start = after
        page = _ask_history(lambda history: history.read(start, PAGE))  # noqa: B023 - called at once
        for entry in page.entries:
            if entry.number > execution.last or not grant.may_read(entry.topics):
                continue
            if orjson.loads(entry.document)["execution_id"] == execution.execution_id:
                found.append(entry.document)
        if not page.entries:
            break
        after = page.entries[-1].number
    return list(found)


# -- the views ---------------------------------------------------------------------------------------------------------


class ExecutionsApi(ProtectedView):
    """What the two views have in common."""

    renderer_classes = [JSONRenderer]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, Unavailable):
            body = {"message": f"The executions cannot be read: {exc}"}
            return Response(body, status.HTTP_503_SERVICE_UNAVAILABLE, headers={"Retry-After": str(RETRY_AFTER_S)})
        return super().handle_exception(exc)


class ExecutionListView(ExecutionsApi):
    """Running and recently finished executions."""

    @extend_schema(
        operation_id="list_executions",
        summary="The states of running and recently finished executions",
        description=(
            "Those of one workflow, bot or strategy, or of all; newest event first. All states are true at one moment, "
            "and `epoch` and `offset` name it: a subscription with them goes on from there."
        ),
        tags=["Executions"],
        parameters=[
            *(OpenApiParameter(kind, str, description=f"Only executions of this {kind}; one kind at most.") for kind in KINDS),
            OpenApiParameter("status", str, description="Only executions with this status, for example running."),
            OpenApiParameter("limit", int, description=f"1 to {MAX_LIMIT}.", default=DEFAULT_LIMIT),
        ],
        responses={
            200: OpenApiResponse(ExecutionsSerializer, "The executions."),
            400: OpenApiResponse(MessageSerializer, "A parameter is not valid."),
            403: OpenApiResponse(ScopeMissingSerializer, "The token may not read this topic; without one, the topic is all."),
            **FAILURES,
        },
    )
    def get(self, request: Request) -> Response:
        topic, limit, wanted = _topic(request), _limit(request), _status(request)
        require_topic(request, topic)
        found = _ask_history(lambda history: history.snapshot(topic, limit, wanted))
        return Response(snapshot_payload(topic, found))


class ExecutionDetailView(ExecutionsApi):
    """One execution."""

    @extend_schema(
        operation_id="get_execution",
        summary="The state of an execution, and its events",
        description=f"Its newest events, up to {MAX_EVENTS:,}, as far as they still are in the journal.",
        tags=["Executions"],
        responses={
            200: OpenApiResponse(ExecutionDetailSerializer, "The execution."),
            404: OpenApiResponse(MessageSerializer, "No such execution is known, or not any more."),
            **FAILURES,
        },
    )
    def get(self, request: Request, execution_id: str) -> HttpResponse:
        (execution,) = _ask_history(lambda history: history.executions([execution_id]))
        grant = grant_of(request) or NOTHING
        # That an execution exists is not for a token to learn which may read none of its topics.
        if execution is None or not grant.may_read(execution.topics):
            raise NotFound(f"No execution {execution_id[:64]!r} is known, or it had no event for too long.")
        documents = _events_of(execution, grant)
        body = {
            "execution": execution.to_dict(),
            "complete": len(documents) == execution.events,
            # Byte for byte as subscribers got them: reading and writing them again would change numbers that Python rounds.
            "events": [orjson.Fragment(document) for document in documents],
        }
        return HttpResponse(orjson.dumps(body), content_type="application/json")
