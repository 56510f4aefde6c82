"""The order of runs."""

from bench.cases import CASES, Case, Target
from bench.command import _interleaved
from bench.load import Load


def test_servers_take_turns_and_so_do_cases_that_are_compared_with_each_other() -> None:
    alone = Case("alone", "", Load(), peers=("ours", "node"), repeat=2)
    small = Case("small", "", Load(), peers=("ours",), repeat=1)
    large = Case("large", "", Load(), peers=("ours",), targets=(Target("server_us", 1.3, "case:small"),), repeat=2)
    order = [(case.name, peer) for case, peer in _interleaved([alone, small, large])]
    assert order == [
        *[("alone", "ours"), ("alone", "node")] * 2,
        ("small", "ours"),
        ("large", "ours"),
        ("large", "ours"),
    ]


def test_cases_are_compared_with_the_one_before_them() -> None:
    names = list(CASES)
    for case in CASES.values():
        for other in case.compared:
            assert names.index(other) == names.index(case.name) - 1
            assert CASES[other].repeat == case.repeat
