"""Traces: a collector gets one tree of spans per event, from two processes, and is nothing that anybody waits for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.redis_server import RedisServer
from tests.system.conftest import Connect
from tests.system.event_data import event
from tests.system.stack import Stack, await_condition

TRACE_ID: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID: Final = "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Takes spans as OTLP over HTTP."""

    daemon_threads = True

    def __init__(self) -> None:
        #: Spans with the kind of process that each came from.
        self.spans: list[tuple[str, Span]] = []
        self.authorizations: set[str | None] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert about["service.name"] == "events-of-tests"
            found = [span for scope in resource.scope_spans for span in scope.spans]
            self.spans += [(about["wsserver.kind"], span) for span in found]

    def spans_of(self, kind: str) -> list[Span]:
        return sorted((span for found, span in self.spans if found == kind), key=lambda span: attributes(span)["number"])


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        self.server.authorizations.add(self.headers["authorization"])
        self.server.take(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        pass


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = Thread(target=collector.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()


def attributes(span: Span) -> dict[str, Any]:
    values = {each.key.removeprefix("wsserver."): each.value for each in span.attributes}
    return {name: value.int_value or value.string_value for name, value in values.items()}


def marks(span: Span) -> dict[str, int]:
    return {each.name: each.time_unix_nano for each in span.events}


def tracing(url: str, share: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20of-tests",
        "OTEL_SERVICE_NAME": "events-of-tests",
        "OTEL_TRACES_SAMPLER_ARG": share,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


async def test_spans_of_both_processes_make_one_tree_from_publishing_to_delivery(
    new_stack: Callable[..., Stack], redis_server: RedisServer, connect: Connect
) -> None:
    with collecting() as collector, new_stack(redis_server, **tracing(collector.url, "1")) as stack:
        stack.runbus()
        server = stack.serve()
        clients = [await connect(kind, server) for kind in ("plain", "python-websocket")]
        for client in clients:
            await client.emit("subscribe_workflow", {"workflow_id": "traced"})
            await client.wait("subscribed")
        stack.add_to_stream(
            event(1, "traced"),
            event(2, "traced", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01"),
            event(3, "traced", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-00"),
            event(4, "traced", traceparent="not one"),
            event(5, "nobody"),
        )
        for client in clients:
            await client.wait("workflow_event", 4)
        await_condition(lambda: len(collector.spans) == 7, lambda: f"seven spans: {collector.spans}")

        relayed, delivered = collector.spans_of("runbus"), collector.spans_of("server")
        # The third was not to be traced, and nobody wanted the fifth.
        assert [attributes(span)["number"] for span in relayed] == [1, 2, 4, 5]
        assert [attributes(span)["number"] for span in delivered] == [1, 2, 4]
        for parent, span in zip(relayed, delivered, strict=False):
            check_tree(parent, span)
        assert (relayed[1].trace_id.hex(), relayed[1].parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
        assert not relayed[0].parent_span_id
        assert not relayed[2].parent_span_id
        assert len({span.trace_id for span in relayed}) == 4
        assert attributes(relayed[0])["execution_id"] == event(1, "traced")["execution_id"]
        assert collector.authorizations == {"Bearer of-tests"}


def check_tree(relayed: Span, delivered: Span) -> None:
    """One trace; the second span goes from the publishing to the last of two sockets, by way of the stages between."""
    assert (delivered.trace_id, delivered.parent_span_id) == (relayed.trace_id, relayed.span_id)
    assert attributes(delivered)["clients"] == 2
    assert delivered.start_time_unix_nano == relayed.start_time_unix_nano
    stages = marks(delivered)
    published, written = delivered.start_time_unix_nano, delivered.end_time_unix_nano
    # Redis tells the time of publishing in whole milliseconds.
    assert published - 1_000_000 <= stages["in the history"] <= stages["heard by the server process"] <= written
    assert marks(relayed)["in the history"] <= relayed.end_time_unix_nano


async def test_a_share_of_none_traces_those_that_ask_for_it(new_stack: Callable[..., Stack], connect: Connect) -> None:
    with collecting() as collector, new_stack(**tracing(collector.url, "0")) as stack:
        server = stack.serve()
        client = await connect("plain", server)
        await client.emit("subscribe_all_bots", {})
        await client.wait("subscribed")
        server.publish(event(1, "traced"), event(2, "traced", traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01"))
        await client.wait("workflow_event", 2)
        await_condition(lambda: len(collector.spans) >= 2, lambda: f"two spans: {collector.spans}")
        assert {(attributes(span)["number"], span.trace_id.hex()) for _, span in collector.spans} == {(2, TRACE_ID)}


async def test_a_collector_that_is_away_costs_no_event(new_stack: Callable[..., Stack], connect: Connect) -> None:
    with new_stack(**tracing("http://127.0.0.1:9", "1")) as stack:
        server = stack.serve()
        client = await connect("plain", server)
        await client.emit("subscribe_all_bots", {})
        await client.wait("subscribed")
        server.publish(*[event(number, "traced") for number in range(100)])
        await client.wait("workflow_event", 100)
        await client.close()
        server.await_log("opentelemetry")
        assert server.stop() == 0


def test_without_a_collector_what_sends_traces_is_not_even_imported(new_stack: Callable[..., Stack]) -> None:
    # The Redis client imports other parts of OpenTelemetry by itself where they are installed.
    look = "import sys, wsproject.asgi, events.wiring; sys.exit('opentelemetry.exporter' in sys.modules)"
    with new_stack() as stack:
        assert stack.run("-c", look).wait() == 0


def test_an_address_that_is_none_is_refused_at_the_start(new_stack: Callable[..., Stack]) -> None:
    with new_stack(OTEL_EXPORTER_OTLP_ENDPOINT="collector:4318") as stack:
        check = stack.manage("check")
        assert check.wait() != 0
        assert "OTEL_EXPORTER_OTLP_ENDPOINT is 'collector:4318': write an address such as http://collector:4318." in check.log
