"""OpenTelemetry traces of some events, sent to a collector over OTLP/HTTP.

The relay chooses events and records a span from the publishing to the channel layer. Each server process with subscribers of
the event records one more, a child of the relay's, from the publishing to the last socket. A publisher that is traced itself
puts a W3C `traceparent` into the event: then both belong to its trace, and its `sampled` flag decides.

Imported only where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; the libraries cost time and memory at the start.
"""

import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers

from events.conf import TracingConfig
from events.domain.entry import Entry
from events.domain.event import Event
from events.ports import Trace

#: How long the end of a process waits for a collector.
CLOSE_S: Final = 0.5

#: Events of one step of the relay whose way is recorded, however many of them a publisher asks for.
MOST_AT_ONCE: Final = 50

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class OtlpTracer:
    """Spans are sent by a thread of their own. When more of them wait than the SDK has room for (2,048), or the collector is
    away, spans are lost and nothing else is."""

    def __init__(self, config: TracingConfig, process: str, kind: str) -> None:
        """`process` and `kind` name this process in each span."""
        about = {"service.name": config.service, "service.instance.id": process, "wsserver.kind": kind}
        self._provider = TracerProvider(ALWAYS_ON, Resource.create(about), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(
            f"{config.endpoint.rstrip('/')}/v1/traces", headers=parse_env_headers(config.headers, liberal=True)
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("wsserver")
        self._share = config.share
        self._open: list[Span] = []

    def relayed(self, source: str, events: Sequence[Event], entries: Sequence[Entry]) -> Sequence[Trace]:
        now, traces = time.time(), list[Trace]()
        for event, entry in zip(events, entries, strict=True):
            if len(traces) == MOST_AT_ONCE:
                break
            parent = self._choose(event)
            if parent is not None:
                published = event.published or now
                span = self._start("relay event", SpanKind.PRODUCER, parent, published, _attributes(source, event, entry))
                span.add_event("in the history", timestamp=_nanoseconds(now))
                self._open.append(span)
                traces.append(Trace(entry.number, _traceparent(span), published))
        return traces

    def sent(self) -> None:
        for span in self._open:
            span.end()
        self._open.clear()

    def delivered(self, trace: Trace, relayed: float, heard: float, clients: int) -> None:
        parent = _PROPAGATOR.extract({"traceparent": trace.traceparent})
        about: dict[str, str | int] = {"wsserver.number": trace.number, "wsserver.clients": clients}
        span = self._start("deliver event", SpanKind.CONSUMER, parent, trace.published, about)
        span.add_event("in the history", timestamp=_nanoseconds(relayed))
        span.add_event("heard by the server process", timestamp=_nanoseconds(heard))
        span.end()

    def close(self) -> None:
        # The exporter itself waits for much longer for a collector that is away.
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _choose(self, event: Event) -> Context | None:
        """The trace that an event's span belongs to (an empty context: one of its own); None for no span."""
        given = event.fields.get("traceparent")
        if isinstance(given, str):
            context = _PROPAGATOR.extract({"traceparent": given})
            publisher = get_current_span(context).get_span_context()
            if publisher.is_valid:
                return context if publisher.trace_flags.sampled else None
        return Context() if random.random() < self._share else None  # noqa: S311 - no secret

    def _start(self, name: str, kind: SpanKind, parent: Context, at: float, attributes: Mapping[str, str | int]) -> Span:
        return self._tracer.start_span(name, parent, kind, attributes, start_time=_nanoseconds(at))


def _attributes(source: str, event: Event, entry: Entry) -> dict[str, str | int]:
    return {
        "messaging.system": "wsserver",
        "messaging.destination.name": source,
        "messaging.message.body.size": len(event.document),
        "wsserver.number": entry.number,
        "wsserver.event_type": str(event.fields["type"]),
        "wsserver.execution_id": str(event.fields["execution_id"]),
        "wsserver.workflow_id": str(event.fields["workflow_id"]),
    }


def _traceparent(span: Span) -> str:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
    return carrier["traceparent"]


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
