"""The report of a run, in Markdown: verdicts, figures of every server, growth, and the machine."""

from collections.abc import Iterable, Sequence
from typing import Final

from bench.cases import GROWTH, TABLE, Case, Measure
from bench.figures import figure, spread
from bench.peer import OURS, PEERS_BY_NAME
from bench.result import METRICS, Record, median
from bench.verdict import judge

#: What the table of a case shows, in this order.
COLUMNS: Final = {
    Measure.DELIVERY: ("server_us", "relay_us", "load_us", "delivered", "deliveries_per_s", "p50_ms", "p99_ms", "resident_mib"),
    Measure.CONNECT: ("subscribed_s", "joined_s", "connect_us"),
    Measure.MEMORY: ("socket_kib", "resident_mib"),
    Measure.REPLAY: ("subscribed_s", "connect_us", "missing", "repeated"),
    Measure.RELAY: ("relayed_per_s", "relay_cores", "follower_cores", "delivered"),
}

#: What the growth tables show.
GROWTH_COLUMNS: Final = ("server_us", "p50_ms", "p99_ms", "resident_mib", "delivered")

SERIES: Final = {
    "clients": "Clients",
    "rate": "Events per second",
    "topics": "Topics",
    "subscriptions": "Subscriptions per client",
    "bytes": "Bytes per event",
}


def render(record: Record) -> str:
    """All of it, as sections of a page; what was not measured is left out."""
    parts = [_verdicts(record), *_cases(record), *_growth(record), _machine(record)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdicts(record: Record) -> str:
    rows = []
    for case in _measured(TABLE, record):
        for target in case.targets:
            verdict = judge(case, target, record)
            ours, theirs = figure(target.metric, verdict.ours), figure(target.metric, verdict.theirs)
            sign = "≥" if target.least else "≤"
            bound = f"{target.bound:g} ×" if target.against else figure(target.metric, target.bound)
            ratio = f"{verdict.value:.2f}" if target.against and verdict.value is not None else ""
            names = [case.name, target.metric, _against(target.against), ours, theirs, ratio, f"{sign} {bound}", verdict.word]
            rows.append(names)
    head = ["case", "metric", "against", "ours", "theirs", "ratio", "target", ""]
    return "### Targets\n\n" + _table(head, rows) if rows else ""


def _against(against: str) -> str:
    return against.removeprefix("case:") if against else "–"


def _cases(record: Record) -> Iterable[str]:
    for case in _measured(TABLE, record):
        columns = [name for name in COLUMNS[case.measure] if any(record.values(case.name, peer, name) for peer in case.peers)]
        rows = [_row(case, peer, columns, record) for peer in case.peers if _has(case, peer, record)]
        legend = "; ".join(f"`{name}`: {METRICS[name]}" for name in columns)
        yield f"### {case.name}\n\n{case.title}.\n\n" + _table(["server", *columns, "runs"], rows) + f"\n\n{legend}."


def _row(case: Case, peer: str, columns: Sequence[str], record: Record) -> list[str]:
    cells = [spread(name, record.values(case.name, peer, name)) for name in columns]
    runs = sum(result.case == case.name and result.peer == peer for result in record.results)
    failures = record.failures(case.name, peer)
    note = f"{runs}" + (f", {len(failures)} failed: {failures[0]}" if failures else "")
    return [PEERS_BY_NAME[peer].title, *cells, note.replace("|", "/")]


def _growth(record: Record) -> Iterable[str]:
    for series, title in SERIES.items():
        cases = _measured([case for case in GROWTH if case.series == series], record)
        if not cases:
            continue
        peers = [peer for peer in cases[0].peers if any(_has(case, peer, record) for case in cases)]
        rows = [_growth_row(case, peer, record) for case in cases for peer in peers]
        head = [title, "server", *GROWTH_COLUMNS]
        yield f"### Growth: {title[0].lower()}{title[1:]}\n\n{_what(cases)}\n\n" + _table(head, rows)


def _what(cases: Sequence[Case]) -> str:
    return f"From “{cases[0].title}” to “{cases[-1].title}”."


def _growth_row(case: Case, peer: str, record: Record) -> list[str]:
    cells = [figure(name, median(record.values(case.name, peer, name))) for name in GROWTH_COLUMNS]
    failures = record.failures(case.name, peer)
    return [f"{case.x:,.0f}", peer, *cells[:-1], failures[0].replace("|", "/") if failures else cells[-1]]


def _machine(record: Record) -> str:
    rows = [[name, value.replace("|", "/")] for name, value in record.about.items()]
    return "### Machine and commands\n\n" + _table(["", ""], rows)


def _measured(cases: Iterable[Case], record: Record) -> list[Case]:
    return [case for case in cases if any(_has(case, peer, record) for peer in (OURS, *case.peers))]


def _has(case: Case, peer: str, record: Record) -> bool:
    return any(result.case == case.name and result.peer == peer for result in record.results)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
