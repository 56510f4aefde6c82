"""`/metrics` for Prometheus: its own parsers and promtool take it, and all that dashboard and alerts name is there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from django.conf import settings
from django.test import Client
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from events.domain.event import KNOWN_TYPES
from events.fanout.counters import Counters
from events.fanout.latency import CANARY, LOOP, STAGES, observe
from events.ports import ProcessReport
from events.wiring import Adapters
from tests.conftest import ROOT
from tests.monitoring.conftest import Elsewhere

ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD: Final = ROOT / "deploy" / "grafana" / "wsserver.json"


def counted() -> dict[str, int]:
    counters = Counters(connections=7, sent=40, bytes=4_000, received=20, rejected=1)
    for kind in KNOWN_TYPES:
        counters.count("events", kind, 3)
    counters.count("errors", "unknown_command", 2)
    counters.count("refused", "origin")
    counters.count("authentications", "refused")
    counters.count("http_authentications", "invalid_token")
    counters.count("overflows", "group", 4)
    for name in (*STAGES, CANARY, LOOP):
        observe(counters.labelled, name, 0.003, 5)
        observe(counters.labelled, name, 60.0)
    return counters.as_dict()


def report(process: str, kind: str, **gauges: Any) -> ProcessReport:
    return ProcessReport(process, kind, "host", 1, 1_700_000_000.0, 1_700_000_100.0, gauges, counted(), counted())


@pytest.fixture
def reporting(elsewhere: Elsewhere) -> None:
    """Two server processes and a relay have reported."""

    async def act(adapters: Adapters) -> None:
        queues = {"clients": [3, 20_000], "group": [0, 1_000]}
        server = {"clients": 3, "lagging": 1, "subscriptions": 9, "loop_delay_s": 0.01, "draining": False, "queues": queues}
        await adapters.registry.report(report("web-1", "server", **server), 60)
        await adapters.registry.report(report("web-2", "server", **server), 60)
        await adapters.registry.report(report("bus-1", "runbus", leading=True, lag_s=0.25, loop_delay_s=0.0), 60)
        await adapters.lease.acquire("bus-1", 60)

    elsewhere(act)


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in parse_text(text)}


@pytest.mark.usefixtures("reporting")
def test_series_are_of_each_process_and_totals_of_all(client: Client) -> None:
    found = families(client.get("/metrics?format=prometheus").content.decode())
    clients = {sample.labels["process"]: sample.value for sample in found["wsserver_clients"].samples}
    assert clients == {"web-1": 3, "web-2": 3}
    [lag] = found["wsserver_relay_lag_seconds"].samples
    assert (lag.labels, lag.value) == ({"process": "bus-1", "kind": "runbus"}, 0.25)
    assert {sample.value for sample in found["wsserver_deliveries"].samples if sample.name.endswith("_total")} == {40}
    [total] = [sample for sample in found["wsserver_all_deliveries"].samples if sample.name.endswith("_total")]
    assert total.value == 120
    types = {sample.labels["type"] for sample in found["wsserver_events"].samples if "type" in sample.labels}
    assert types == KNOWN_TYPES
    healthy = {sample.labels["component"]: sample.value for sample in found["wsserver_healthy"].samples}
    assert healthy == {"state": 1, "events": 1, "process": 1}


@pytest.mark.usefixtures("reporting")
def test_queues_have_their_length_bound_and_overflows(client: Client) -> None:
    found = families(client.get("/metrics?format=prometheus").content.decode())

    def of_group(name: str) -> set[float]:
        samples = [sample for sample in found[f"wsserver_queue_{name}"].samples if sample.labels["queue"] == "group"]
        return {sample.value for sample in samples if not sample.name.endswith("_created")}

    assert (of_group("length"), of_group("bound"), of_group("overflows")) == ({0}, {1_000}, {4})
    stores = {sample.labels["store"] for sample in found["wsserver_store_entries"].samples}
    assert stores == {sample.labels["store"] for sample in found["wsserver_store_bound"].samples} >= {"journal", "dead_letters"}
    limits = {sample.labels["limit"]: sample.value for sample in found["wsserver_limit"].samples}
    assert limits["history.journal_events"] == settings.EVENTS.history.journal_events
    assert limits["access.connections"] == settings.EVENTS.access.connections


@pytest.mark.usefixtures("reporting")
def test_histograms_are_cumulative_and_complete(client: Client) -> None:
    found = families(client.get("/metrics?format=prometheus").content.decode())["wsserver_latency_seconds"]
    samples = [s for s in found.samples if s.labels.get("process") == "web-1" and s.labels.get("stage") == "total"]
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert (buckets["0.0025"], buckets["0.005"], buckets["30"], buckets["+Inf"]) == (0, 5, 5, 6)
    [total] = [sample.value for sample in samples if sample.name.endswith("_sum")]
    assert total == pytest.approx(60.015)


@pytest.mark.usefixtures("reporting")
@pytest.mark.parametrize(
    ("accept", "query", "content_type"),
    [
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3", "", "application/openmetrics-text"),
        ("text/plain;version=0.0.4", "", "text/plain"),
        ("application/openmetrics-text;q=0.4,text/plain;version=0.0.4;q=0.6,*/*;q=0.2", "", "text/plain"),
        ("application/openmetrics-text;q=0,text/plain;q=0.5", "", "text/plain"),
        ("text/plain", "", "text/plain"),
        ("*/*", "", "application/json"),
        ("*/*,text/plain;q=0.5", "", "application/json"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "", "application/json"),
        ("", "", "application/json"),
        ("rubbish;;,/", "", "application/json"),
        ("application/json, text/plain", "", "application/json"),
        ("text/plain", "?format=json", "application/json"),
        ("*/*", "?format=openmetrics", "application/openmetrics-text"),
    ],
)
def test_the_format_is_that_which_is_asked_for(client: Client, accept: str, query: str, content_type: str) -> None:
    response = client.get(f"/metrics{query}", headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(content_type)
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("reporting")
def test_openmetrics_is_what_its_parser_takes(client: Client) -> None:
    text = client.get("/metrics?format=openmetrics").content.decode()
    assert "wsserver_clients" in {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]


def test_an_unknown_format_is_refused_with_those_that_are_known(client: Client) -> None:
    response = client.get("/metrics?format=xml")
    assert response.status_code == 400
    assert "prometheus" in response.json()["message"]


@pytest.mark.usefixtures("redis_is_gone")
def test_without_redis_it_says_so_instead_of_nothing(client: Client) -> None:
    found = families(client.get("/metrics?format=prometheus").content.decode())
    assert found["wsserver_registry_up"].samples[0].value == 0


# -- dashboard and alerts ------------------------------------------------------------------------------------------------


def named(text: str) -> set[str]:
    return set(re.findall(r"\bwsserver_[a-z_]+", text))


def expressions() -> Iterator[str]:
    yield from dashboard_expressions()
    yield from re.findall(r"expr: (?:[|>]-?\n)?((?:.*\n?)(?:          .*\n)*)", ALERTS.read_text(encoding="utf-8"))


def dashboard_expressions() -> Iterator[str]:
    """The queries, with what Grafana puts in for its own variable."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"].replace("$__rate_interval", "5m") for target in panel["targets"])


@pytest.mark.usefixtures("reporting")
def test_everything_that_dashboard_and_alerts_name_is_there(client: Client) -> None:
    text = client.get("/metrics?format=prometheus").content.decode()
    there = {sample.name for family in parse_text(text) for sample in family.samples}
    wanted = {name for expression in expressions() for name in named(expression)}
    assert wanted
    assert wanted - there == set()


def test_the_dashboard_is_what_grafana_takes() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert dashboard["title"]
    assert dashboard["uid"]
    assert dashboard["schemaVersion"] >= 36
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    variables = {variable["name"] for variable in dashboard["templating"]["list"] if variable["type"] == "datasource"}
    for panel in panels:
        assert panel["datasource"]["uid"] in {f"${{{name}}}" for name in variables}
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(set(references)) == len(references)
    cells = [cell for panel in panels for cell in cells_of(**panel["gridPos"])]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24


def cells_of(h: int, w: int, x: int, y: int) -> Iterator[tuple[int, int]]:
    return ((column, row) for column in range(x, x + w) for row in range(y, y + h))


def test_promtool_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"q:{number}", "expr": expression} for number, expression in enumerate(dashboard_expressions())]
    file = tmp_path / "queries.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([promtool(), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules(client: Client) -> None:
    done = subprocess.run([promtool(), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("reporting")
def test_promtool_takes_the_metrics(client: Client) -> None:
    text = client.get("/metrics?format=prometheus").content
    done = subprocess.run([promtool(), "check", "metrics"], input=text, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


#: Series that make each alert fire, with a value every 15 s.
FIRING: Final[dict[str, dict[str, str]]] = {
    "WsserverDown": {},
    "WsserverUnhealthy": {'wsserver_healthy{component="events"}': "0x99"},
    "WsserverNoRelay": {'wsserver_processes{kind="server"}': "1x99", "wsserver_registry_up": "1x99"},
    "WsserverNoStandby": {'wsserver_processes{kind="runbus"}': "1x99"},
    "WsserverRelayLag": {"wsserver_relay_lag_seconds": "6x99"},
    "WsserverRegistryDown": {"wsserver_registry_up": "0x99"},
    "WsserverEventLoopStalled": {'wsserver_event_loop_delay_seconds{process="a"}': "2x99"},
    "WsserverSlowDelivery": {
        'wsserver_latency_seconds_bucket{stage="total",le="1"}': "0x99",
        'wsserver_latency_seconds_bucket{stage="total",le="5"}': "0+9x99",
        'wsserver_latency_seconds_bucket{stage="total",le="+Inf"}': "0+9x99",
    },
    # Found once, by a relay that had just started.
    "WsserverEventsLost": {
        "wsserver_all_bus_gaps_total": "0x70 1x29",
        'wsserver_bus_gaps_total{process="new"}': "_x70 1x29",
    },
    "WsserverEventsRejected": {"wsserver_events_rejected_total": "0+1x99"},
    "WsserverManyLagging": {"wsserver_clients_lagging": "11x99", "wsserver_clients": "50x99"},
    "WsserverAuthenticationFailures": {'wsserver_http_authentications_total{result="invalid_token"}': "0+30x99"},
    "WsserverRefusing": {'wsserver_refused_total{rule="origin"}': "0+30x99"},
    "WsserverQueueFull": {'wsserver_queue_length{queue="clients"}': "9x99", 'wsserver_queue_bound{queue="clients"}': "10x99"},
    "WsserverEmergency": {'wsserver_emergency{state="halt"}': "1x99"},
}

#: A system in which all is well.
WELL: Final = {
    'wsserver_processes{kind="server"}': "1x99",
    'wsserver_processes{kind="runbus"}': "2x99",
    'wsserver_relay_leading{process="b"}': "1x99",
    'wsserver_healthy{component="events"}': "1x99",
    'wsserver_emergency{state="normal"}': "1x99",
    "wsserver_registry_up": "1x99",
}


def rule_test(series: dict[str, str], query: str, *found: str) -> dict[str, Any]:
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in found]
    asked = {"expr": f"group by (alertname) ({query})", "eval_time": "20m", "exp_samples": samples}
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "15s", "input_series": inputs, "promql_expr_test": [asked]}


def test_each_alert_fires_when_it_should_and_none_when_all_is_well(tmp_path: Path) -> None:
    assert list(FIRING) == re.findall(r"alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    firing = 'ALERTS{{alertstate="firing",alertname="{}"}}'
    tests = [rule_test(series, firing.format(name), name) for name, series in FIRING.items()]
    file = tmp_path / "alerts_test.yml"
    whole = {"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [*tests, rule_test(WELL, "ALERTS")]}
    file.write_text(json.dumps(whole), encoding="utf-8")
    done = subprocess.run([promtool(), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_an_entry_in_the_runbook() -> None:
    alerts = re.findall(r"alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    runbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [name for name in alerts if f"| `{name}` |" not in runbook] == []


def promtool() -> str:
    found = shutil.which("promtool")
    assert found is not None, "promtool is missing: install the package prometheus, or run `make test`, which does."
    return found
