"""What the processes report, in the formats of Prometheus and OpenMetrics.

Series carry the process that they are of. A counter counts from its process's start, so it never goes backwards; what processes
that have ended counted is in the families `wsserver_all_*`, which are kept in the registry.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from events.stats import BUCKETS, CANARY, LOOP, STAGES, ProcessReport, Queue, Reported, buckets, limits, sum_seconds

PREFIX: Final = "wsserver_"

#: Content types by the name of the format.
CONTENT_TYPES: Final = {
    "prometheus": "text/plain; version=0.0.4; charset=utf-8",
    "openmetrics": openmetrics.CONTENT_TYPE_LATEST,
}

#: Gauges of a report: name of the series, and what it tells.
GAUGES: Final = {
    "clients": ("clients", "Connected clients."),
    "lagging": ("clients_lagging", "Clients that read the journal instead of the live feed, because they are slow."),
    "subscriptions": ("subscriptions", "Subscriptions of the connected clients."),
    "leading": ("relay_leading", "1 while this process's relay leads."),
    "lag_s": ("relay_lag_seconds", "Age of the oldest document that the relay has read and not relayed yet."),
    "loop_delay_s": ("event_loop_delay_seconds", "The longest that the event loop stood still within the last ten seconds."),
    "heard_s": ("relay_silence_seconds", "How long a server process has not heard from the relay; once a second is usual."),
    "canary_s": ("canary_silence_seconds", "How long no canary has come to a server process; one every two seconds is usual."),
    "draining": ("draining", "1 while this process lets its clients go because it is about to end."),
}

#: Counters without a label.
COUNTERS: Final = {
    "connections": ("connections", "Clients that ever connected."),
    "sent": ("deliveries", "Events delivered to clients, replays included."),
    "bytes": ("delivered_bytes", "Bytes of the documents of events for clients that want them."),
    "received": ("events_received", "Events taken from the bus."),
    "rejected": ("events_rejected", "Documents of the bus that were no events; see the dead letters."),
    "gaps": ("bus_gaps", "Times that an input of the relay could not read everything."),
    "missed": ("bus_missed", "Documents known to have been lost on the bus."),
    "repairs": ("journal_repairs", "Times that a hub read the journal because the channel layer lost something."),
    "lagged": ("clients_lagged", "Times that a client fell behind and was caught up from the journal."),
}

#: Labelled counters: name of the series, name of the label, and what it tells. Others are told under their own name.
LABELLED: Final = {
    "events": ("events", "type", "Events taken from the bus, by type; types that are not in the guide are `other`."),
    "errors": ("errors", "code", "Commands of clients that were answered with an error, by its code."),
    "refused": ("refused", "rule", "Connections, messages and requests that were refused, by the rule."),
    "authentications": ("authentications", "result", "Tokens that clients gave, by what became of it."),
    "http_authentications": ("http_authentications", "result", "Tokens that came with requests, by what became of it."),
    "overflows": ("queue_overflows", "queue", "What was dropped, or whom it cost the connection, because a queue was full."),
}

_STAGES_HELP: Final = (
    "How late events are. bus: published to in the history; group: from there to a server process; socket: from there to its "
    "sockets; total: all of it."
)

#: Histograms: name of the series, its stages as kept in reports, and what it tells.
HISTOGRAMS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "latency_seconds": (STAGES, _STAGES_HELP),
    "canary_seconds": ((CANARY,), "How long canaries took from the bus to a server process."),
    "event_loop_lateness_seconds": ((LOOP,), "By how much the event loop was late for a timer."),
}


def render(reported: Reported, format_name: str) -> bytes:
    """The exposition of everything in one of `CONTENT_TYPES`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Processes(reported))
    generate = openmetrics.generate_latest if format_name == "openmetrics" else exposition.generate_latest
    return generate(registry)


class _Processes(Collector):
    """The families of one moment."""

    def __init__(self, reported: Reported) -> None:
        self._reported = reported

    def collect(self) -> Iterator[Metric]:
        reports = self._reported.processes
        yield from _gauges(reports)
        yield from _queues(reports)
        yield from _counters(reports)
        yield from _labelled(reports)
        yield from _histograms(reports)
        yield from _cluster(self._reported)


def _labels(report: ProcessReport) -> list[str]:
    return [report.process, report.kind]


def _gauges(reports: Iterable[ProcessReport]) -> Iterator[Metric]:
    started = GaugeMetricFamily(f"{PREFIX}process_start_time_seconds", "Unix time.", labels=("process", "kind"))
    families = {key: GaugeMetricFamily(PREFIX + name, text, labels=("process", "kind")) for key, (name, text) in GAUGES.items()}
    for report in reports:
        started.add_metric(_labels(report), report.started)
        for key, family in families.items():
            if key in report.gauges:
                family.add_metric(_labels(report), float(report.gauges[key]))
    yield from (started, *families.values())


def _queues(reports: Iterable[ProcessReport]) -> Iterator[Metric]:
    labels = ("process", "kind", "queue")
    waiting = GaugeMetricFamily(f"{PREFIX}queue_length", "How much is in a bounded queue.", labels=labels)
    bounds = GaugeMetricFamily(f"{PREFIX}queue_bound", "How much may be in it.", labels=labels)
    for report in reports:
        for name, (length, bound) in report.gauges.get("queues", {}).items():
            waiting.add_metric([*_labels(report), name], length)
            bounds.add_metric([*_labels(report), name], bound)
    yield from (waiting, bounds)


def _limits() -> Metric:
    text = "The limits that are set, as the process that was asked has them."
    family = GaugeMetricFamily(f"{PREFIX}limit", text, labels=("limit",))
    for name, value in limits().items():
        family.add_metric([name], value)
    return family


def _counters(reports: Iterable[ProcessReport]) -> Iterator[Metric]:
    for key, (name, text) in COUNTERS.items():
        family = CounterMetricFamily(PREFIX + name, text, labels=("process", "kind"))
        for report in reports:
            family.add_metric(_labels(report), report.counted.get(key, 0), created=report.started)
        yield family


def _labelled(reports: Iterable[ProcessReport]) -> Iterator[Metric]:
    found: dict[str, list[tuple[ProcessReport, str, int]]] = defaultdict(list)
    for report in reports:
        for key, count in report.counted.items():
            name, colon, label = key.partition(":")
            if colon and not name.startswith("latency_"):
                found[name].append((report, label, count))
    for name in sorted({*LABELLED, *found}):
        series, label_name, text = LABELLED.get(name, (name, "label", "Counted by label."))
        family = CounterMetricFamily(PREFIX + series, text, labels=("process", "kind", label_name))
        for report, label, count in found[name]:
            family.add_metric([*_labels(report), label], count, created=report.started)
        yield family


def _histograms(reports: Iterable[ProcessReport]) -> Iterator[Metric]:
    for name, (stages, text) in HISTOGRAMS.items():
        staged = len(stages) > 1
        labels = ("process", "kind", "stage") if staged else ("process", "kind")
        family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
        for report in reports:
            for stage in stages:
                counts = buckets(report.counted, stage)
                if any(counts):
                    values = [*_labels(report), *([stage] if staged else [])]
                    family.add_metric(values, _cumulative(counts), sum_seconds(report.counted, stage))
        yield family


def _cumulative(counts: Iterable[int]) -> list[tuple[str, float]]:
    bounds = [bound if bound != "inf" else "+Inf" for bound in BUCKETS]
    total, found = 0, []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def _cluster(reported: Reported) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        f"{PREFIX}registry_up", "0 while Redis does not answer, and only the process that was asked is told of.",
        value=float(reported.complete),
    )  # fmt: skip
    yield _processes_by_kind(reported.processes)
    yield from _health(reported)
    yield _limits()
    yield from _kept(reported.kept)
    totals: Mapping[str, Any] = reported.totals
    if reported.complete:
        for key, (name, text) in COUNTERS.items():
            text = f"{text} Over all processes, those that have ended included."
            yield CounterMetricFamily(f"{PREFIX}all_{name}", text, value=totals.get(key, 0))


def _kept(stores: Mapping[str, Queue]) -> Iterator[Metric]:
    entries = GaugeMetricFamily(f"{PREFIX}store_entries", "What Redis keeps for all processes.", labels=("store",))
    bounds = GaugeMetricFamily(f"{PREFIX}store_bound", "How much it keeps before the oldest go.", labels=("store",))
    for name, store in stores.items():
        entries.add_metric([name], store.waiting)
        bounds.add_metric([name], store.bound)
    yield from (entries, bounds)


def _processes_by_kind(reports: Iterable[ProcessReport]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}processes", "Live processes.", labels=("kind",))
    kinds = [report.kind for report in reports]
    for kind in ("server", "runbus"):
        family.add_metric([kind], kinds.count(kind))
    return family


def _health(reported: Reported) -> Iterator[Metric]:
    healthy = GaugeMetricFamily(
        f"{PREFIX}healthy", "1 when the component is healthy, as the server process that was asked sees it.",
        labels=("component",),
    )  # fmt: skip
    health = reported.health
    for name, component in (("state", health.state), ("events", health.events), ("process", health.process)):
        healthy.add_metric([name], float(component.healthy))
    emergency = GaugeMetricFamily(f"{PREFIX}emergency", "1 for the present emergency state.", labels=("state",))
    emergency.add_metric([health.emergency.state], 1.0)
    yield from (healthy, emergency)
