"""From results to verdicts and to the page."""

from pathlib import Path

import pytest

from bench.cases import CASES, Target
from bench.growth import lines
from bench.page import BEGIN, END, replace_between, write_page
from bench.profile import parse
from bench.profile import render as render_profile
from bench.report import render
from bench.result import Record, Result, ResultFile, median
from bench.verdict import MET, MISSED, UNKNOWN, judge

FAST = CASES["fanout-200-fast"]


def record(*results: Result) -> Record:
    return Record({"cpu": "made up"}, list(results))


def runs(peer: str, metric: str, *values: float, case: str = FAST.name) -> list[Result]:
    return [Result(case, peer, {metric: value}) for value in values]


@pytest.mark.parametrize(
    ("target", "word"),
    [
        (Target("server_us", 0.4, "node"), MET),
        (Target("server_us", 0.3, "node"), MISSED),
        (Target("server_us", 0.5, "nchan"), UNKNOWN),
        (Target("server_us", 2.0), MET),
        (Target("server_us", 2.0, least=True), MET),
        (Target("server_us", 2.1, least=True), MISSED),
        (Target("server_us", 1.0, "case:fanout-200"), MISSED),
        (Target("p99_ms", 1.0), UNKNOWN),
        (Target("server_us", 0.2, "node", ours="ours-interval"), MET),
        (Target("server_us", 0.1, "node", ours="ours-interval"), MISSED),
    ],
)
def test_medians_are_compared_with_the_bound(target: Target, word: str) -> None:
    found = record(
        *runs("ours", "server_us", 1.0, 2.0, 9.0),
        *runs("ours-interval", "server_us", 1.0),
        *runs("node", "server_us", 6.0, 5.0, 4.0),
        *runs("ours", "server_us", 1.9, case="fanout-200"),
    )
    assert judge(FAST, target, found).word == word


def test_an_even_number_of_runs_has_a_median() -> None:
    assert (median([4, 1]), median([]), median([3, 1, 2])) == (2.5, None, 2)


def test_a_file_of_results_is_complete_after_each_run(tmp_path: Path) -> None:
    results = ResultFile(tmp_path / "new" / "results.jsonl", {"cpu": "made up"})
    for result in (Result("relay-20000", "ours", {"relayed_per_s": 21_000}), Result("relay-20000", "ours", failure="no Redis")):
        results.add(result)
        assert Record.read(results.path).results[-1] == result


def test_the_report_has_verdicts_figures_failures_and_the_machine() -> None:
    found = record(
        *runs("ours", "server_us", 1.5, 2.5),
        *runs("node", "server_us", 5.0),
        Result(FAST.name, "nchan", failure="no | module"),
        Result("clients-100", "ours", {"server_us": 3.0, "p99_ms": 7.0}),
        Result("clients-10000", "node", failure="it hung"),
    )
    page = render(found)
    assert "| fanout-200-fast | server CPU, µs | node | 2 | 5 | 0.40 | ≤ 0.4 × | met |" in page
    assert "| this server (daphne) | 2 (1.5 to 2.5) | 2 |" in page
    assert "| nchan (C, bare WebSocket) | – | 1, 1 failed: no / module |" in page
    assert "| 100 | ours | 3 |" in page
    assert "it hung" in page
    assert "made up" in page
    assert "idle-5000" not in page


def test_a_target_of_an_option_says_so() -> None:
    peers = {"ours": 20.0, "ours-interval": 8.0, "rooms-uvicorn": 100.0}
    page = render(record(*(Result("fanout-200", peer, {"server_us": value}) for peer, value in peers.items())))
    assert "| fanout-200 | server CPU, µs | rooms-uvicorn | 20 | 100 | 0.20 | ≤ 0.15 × | **missed** |" in page
    option = "option WS_DELIVERY_INTERVAL_MS=25"
    assert f"| fanout-200, {option} | server CPU, µs | rooms-uvicorn | 8 | 100 | 0.08 | ≤ 0.15 × | met |" in page


def test_an_overloaded_server_is_named_and_not_drawn() -> None:
    shares = {"clients-100": 1.0, "clients-1000": 0.5}
    found = record(*(Result(case, "node", {"server_us": 5.0, "delivered": share}) for case, share in shares.items()))
    assert [(line.peer, line.x, line.y) for line in lines(found, "clients", "server_us")] == [("node", [100], [5.0])]
    assert "Overloaded, and not in the chart: node at 1,000." in render(found)


def test_the_page_keeps_what_is_written_by_hand(tmp_path: Path) -> None:
    page, chart = tmp_path / "page.md", tmp_path / "img" / "clients.svg"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    found = record(Result("clients-100", "ours", {"server_us": 5.0, "delivered": 1.0}))
    for _ in range(2):
        write_page(found, [chart], page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("![Clients: cost per delivery, latency, memory](img/clients.svg)") == 1


def test_a_page_without_the_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="bench: begin"):
        replace_between("by hand", "new")


def test_a_report_of_nothing_is_no_error() -> None:
    assert "made up" in render(record())


def test_a_profile_counts_own_and_total_time_of_the_main_thread() -> None:
    collapsed = "thread (1): MainThread;main;work 3\nthread (1): MainThread;main 1\nthread (2): other;wait 9\n"
    profile = parse(collapsed)
    assert (profile.samples, dict(profile.own), profile.total["main"]) == (4, {"work": 3, "main": 1}, 4)
    assert "75.0 %  work" in render_profile(profile)
