"""The command line."""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bench.cases import CASES, GROWTH, TABLE, Case
from bench.interrupts import interrupts
from bench.machine import describe_machine
from bench.page import write_page
from bench.paths import BUILD, CHARTS, PAGE, RESULTS, ROOT
from bench.peer import OURS, PEERS_BY_NAME
from bench.profile import profile_case
from bench.programs import Failed
from bench.report import render
from bench.result import Record, Result, ResultFile
from bench.run import run_case

SECONDS = 4.0
GROWTH_SECONDS = 2.0
QUICK_SECONDS = 2.0


def main(argv: Sequence[str]) -> int:
    """The exit code: 0, also when runs failed, because the report says so; 1 when there is nothing to tell; 2 for a wrong
    command line; 130 when interrupted."""
    interrupts.listen()
    given = _parser().parse_args(list(argv) if argv[:1] and argv[0] in COMMANDS else ["run", *argv])
    try:
        COMMANDS[given.command](given)
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; everything that was started has been ended.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=...", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure (the default)")
    run.add_argument("--cases", help="names of cases or of growth series, separated by commas (see `list`)")
    run.add_argument("--peers", help="names of servers, separated by commas")
    run.add_argument("--repeat", type=int, help="runs of each server in each case")
    run.add_argument("--seconds", type=float, help="how long events are published in a run")
    run.add_argument("--quick", action="store_true", help="one run of 2 s each, without the growth series")
    report = commands.add_parser("report", help="render results that were saved")
    report.add_argument("file", nargs="?", type=Path, help="the file of results; the newest without it")
    report.add_argument("--write", action="store_true", help="write docs/performance.md and its charts")
    profile = commands.add_parser("profile", help="where the time of a server goes in one case")
    profile.add_argument("case", choices=sorted(CASES), metavar="case")
    profile.add_argument("--peer", choices=sorted(PEERS_BY_NAME), default=OURS)
    profile.add_argument("--role", choices=("server", "relay"), default="server")
    profile.add_argument("--seconds", type=float, default=SECONDS)
    profile.add_argument("--stacks", type=Path, help="keep the collapsed stacks in this file, for a flame graph")
    commands.add_parser("list", help="the cases and the servers")
    return parser


def _run(given: argparse.Namespace) -> None:
    cases = [_adapted(case, given) for case in _chosen(given)]
    command_line = "make bench" + (f" BENCH_ARGS='{' '.join(sys.argv[1:])}'" if sys.argv[1:] else "")
    path = BUILD / "results" / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
    results = ResultFile(path, describe_machine(command_line))
    print(f"The results are kept in {path.relative_to(ROOT)}.", flush=True)
    for case, peer in _interleaved(cases):
        result = run_case(case, peer, given.seconds or _seconds(case, given))
        results.add(result)
        print(_line(result), flush=True)
    _tell(path, write=_is_whole(given))


def _is_whole(given: argparse.Namespace) -> bool:
    """Whether this is the run that the page is made of: nothing was chosen or cut short."""
    return not (given.cases or given.peers or given.repeat or given.seconds or given.quick)


def _tell(path: Path, *, write: bool) -> None:
    record = Record.read(path)
    if not write:
        print(render(record))
        return
    # Charts need a library that the rest does without.
    from bench.charts import write_charts

    write_page(record, write_charts(record, CHARTS), PAGE)
    RESULTS.parent.mkdir(exist_ok=True)
    if path.resolve() != RESULTS:
        shutil.copyfile(path, RESULTS)
    print(f"Written: {PAGE.relative_to(ROOT)}, {CHARTS.relative_to(ROOT)} and {RESULTS.relative_to(ROOT)}")


def _chosen(given: argparse.Namespace) -> list[Case]:
    if not given.cases:
        return list(TABLE if given.quick else (*TABLE, *GROWTH))
    names = given.cases.split(",")
    unknown = [name for name in names if name not in CASES and name not in {case.series for case in GROWTH}]
    if unknown:
        sys.exit(f"bench: no such case: {', '.join(unknown)}. `make bench BENCH_ARGS=list` has their names.")
    return [case for case in CASES.values() if case.name in names or (case.series and case.series in names)]


def _adapted(case: Case, given: argparse.Namespace) -> Case:
    peers = given.peers.split(",") if given.peers else list(case.peers)
    unknown = [name for name in peers if name not in PEERS_BY_NAME]
    if unknown:
        sys.exit(f"bench: no such server: {', '.join(unknown)}. `make bench BENCH_ARGS=list` has their names.")
    repeat = given.repeat or (1 if given.quick else case.repeat)
    return replace(case, peers=tuple(name for name in case.peers if name in peers), repeat=repeat)


def _seconds(case: Case, given: argparse.Namespace) -> float:
    if given.quick:
        return QUICK_SECONDS
    return GROWTH_SECONDS if case.series else SECONDS


def _interleaved(cases: Sequence[Case]) -> Iterator[tuple[Case, str]]:
    """Servers take turns, and so do cases that are compared with each other: what the machine does meets all of them."""
    for group in _groups(cases):
        for turn in range(max(case.repeat for case in group)):
            for case in group:
                for peer in case.peers if turn < case.repeat else ():
                    yield case, peer


def _groups(cases: Sequence[Case]) -> list[list[Case]]:
    """Each case with those before it that it is compared with."""
    groups: list[list[Case]] = []
    for case in cases:
        if groups and groups[-1][-1].name in case.compared:
            groups[-1].append(case)
        else:
            groups.append([case])
    return groups


def _line(result: Result) -> str:
    metrics = "  ".join(f"{name}={value:.4g}" for name, value in result.metrics.items())
    return f"{result.case:16} {result.peer:14} {result.failure or metrics}"


def _report(given: argparse.Namespace) -> None:
    path = given.file or max((BUILD / "results").glob("*.jsonl"), default=RESULTS)
    try:
        _tell(path, write=given.write)
    except (OSError, ValueError, TypeError) as error:
        raise Failed(f"{path} cannot be reported: {error}") from None


def _profile(given: argparse.Namespace) -> None:
    print(profile_case(CASES[given.case], given.peer, given.role, given.seconds, given.stacks))


def _list(given: argparse.Namespace) -> None:
    for case in CASES.values():
        print(f"{case.name:20} {case.title}  [{', '.join(case.peers)}]")
    for peer in PEERS_BY_NAME.values():
        print(f"{peer.name:20} {peer.title}  {peer.missing()}")


COMMANDS = {"run": _run, "report": _report, "profile": _profile, "list": _list}
