"""The report of a run, in Markdown: verdicts, figures of every server, growth, and the machine."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bench.cases import GROWTH, TABLE, Case, Measure, Target
from bench.figures import figure, spread
from bench.growth import DELIVERED, SERIES
from bench.peer import PEERS_BY_NAME
from bench.result import METRICS, Record, median
from bench.verdict import judge

#: What the table of a case shows, in this order.
COLUMNS: Final = {
    Measure.DELIVERY: (
        *("server_us", "relay_us", "load_us", "busiest_cores", "published_per_s", "delivered"),
        *("p50_ms", "p99_ms", "max_ms", "missing", "repeated", "resident_mib"),
    ),
    Measure.CONNECT: ("subscribed_s", "joined_s", "connect_us"),
    Measure.MEMORY: ("socket_kib", "resident_mib"),
    Measure.REPLAY: ("subscribed_s", "connect_us", "missing", "repeated"),
    Measure.RELAY: ("relayed_per_s", "relay_cores", "follower_cores", "delivered"),
}

#: What the growth tables show.
GROWTH_COLUMNS: Final = ("server_us", "p50_ms", "p99_ms", "resident_mib", "delivered")


def render(record: Record, images: Mapping[str, str] | None = None) -> str:
    """All of it, as sections of a page; what was not measured is left out. `images` has a chart's Markdown per series."""
    parts = [_targets(record), *_growth(record, images or {}), *_cases(record), _meanings(), _machine(record)]
    return "\n\n".join(part for part in parts if part) + "\n"


# -- targets -----------------------------------------------------------------------------------------------------------


def _targets(record: Record) -> str:
    rows = [_target(case, target, record) for case in _measured(TABLE, record) for target in case.targets]
    head = ["case", "figure", "against", "ours", "theirs", "ratio", "target", "verdict"]
    return "## Targets\n\n" + _table(head, rows) if rows else ""


def _target(case: Case, target: Target, record: Record) -> list[str]:
    verdict = judge(case, target, record)
    bound = f"{target.bound:g} ×" if target.against else figure(target.metric, target.bound)
    ratio = f"{verdict.value:.2f}" if target.against and verdict.value is not None else ""
    option = PEERS_BY_NAME[target.ours].option
    return [
        f"{case.name}, option {option}" if option else case.name,
        METRICS[target.metric].title,
        target.against.removeprefix("case:"),
        figure(target.metric, verdict.ours),
        figure(target.metric, verdict.theirs) if target.against else "",
        ratio,
        f"{'≥' if target.least else '≤'} {bound}",
        verdict.word,
    ]


# -- figures -----------------------------------------------------------------------------------------------------------


def _cases(record: Record) -> Iterable[str]:
    for case in _measured(TABLE, record):
        columns = [name for name in COLUMNS[case.measure] if any(record.values(case.name, peer, name) for peer in case.peers)]
        rows = [_row(case, peer, columns, record) for peer in case.peers if _has(case, peer, record)]
        head = ["server", *(METRICS[name].title for name in columns), "runs"]
        yield f"## {case.name}\n\n{case.title}.\n\n{_table(head, rows)}"


def _row(case: Case, peer: str, columns: Sequence[str], record: Record) -> list[str]:
    cells = [spread(name, record.values(case.name, peer, name)) for name in columns]
    runs = sum(result.case == case.name and result.peer == peer for result in record.results)
    failures = record.failures(case.name, peer)
    note = f"{runs}, {len(failures)} failed: {failures[0]}" if failures else f"{runs}"
    return [PEERS_BY_NAME[peer].title, *cells, note]


def _meanings() -> str:
    used = dict.fromkeys(name for columns in (*COLUMNS.values(), GROWTH_COLUMNS) for name in columns)
    rows = [[METRICS[name].title, METRICS[name].meaning] for name in used]
    return "## Figures\n\nMedians of the runs; in brackets the smallest and the largest.\n\n" + _table(["figure", "is"], rows)


# -- growth ------------------------------------------------------------------------------------------------------------


def _growth(record: Record, images: Mapping[str, str]) -> Iterable[str]:
    for series, title in SERIES.items():
        cases = _measured([case for case in GROWTH if case.series == series], record)
        if cases:
            rows = [_growth_row(case, peer, record) for case in cases for peer in case.peers if _has(case, peer, record)]
            head = [title.lower(), "server", *(METRICS[name].title for name in GROWTH_COLUMNS)]
            ends = dict.fromkeys(case.title for case in (cases[0], cases[-1]))
            what = f"{', to '.join(ends)}. {_left_out(cases, record)}".strip()
            yield "\n\n".join(filter(None, (f"## Growth: {title.lower()}", what, images.get(series), _table(head, rows))))


def _left_out(cases: Sequence[Case], record: Record) -> str:
    """What the chart does not show, because the server was overloaded."""
    points = [
        f"{peer} at {case.x:,.0f}"
        for case in cases
        for peer in case.peers
        if (share := median(record.values(case.name, peer, "delivered"))) is not None and share < DELIVERED
    ]
    return f"Overloaded, and not in the chart: {', '.join(points)}." if points else ""


def _growth_row(case: Case, peer: str, record: Record) -> list[str]:
    cells = [figure(name, median(record.values(case.name, peer, name))) for name in GROWTH_COLUMNS]
    failures = record.failures(case.name, peer)
    return [f"{case.x:,.0f}", peer, *cells[:-1], f"failed: {failures[0]}" if failures else cells[-1]]


# -- the rest ----------------------------------------------------------------------------------------------------------


def _machine(record: Record) -> str:
    return "## Machine and command\n\n" + _table(["", ""], [list(pair) for pair in record.about.items()])


def _measured(cases: Iterable[Case], record: Record) -> list[Case]:
    return [case for case in cases if any(_has(case, peer, record) for peer in case.peers)]


def _has(case: Case, peer: str, record: Record) -> bool:
    return any(result.case == case.name and result.peer == peer for result in record.results)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |" for cells in lines)
