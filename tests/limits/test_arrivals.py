"""How fast new connections of an address come."""

from events.limits.arrivals import UNREADABLE_S, Arrivals
from events.limits.rate import LONGEST_DEBT_S


def test_so_many_come_at_once_and_then_so_many_a_second() -> None:
    arrivals = Arrivals(per_s=10, burst=30)
    assert [bool(arrivals.come("a", 0.0)) for _ in range(31)] == [False] * 30 + [True]
    assert arrivals.come("b", 0.0) == 0
    assert [bool(arrivals.come("a", 0.1)) for _ in range(2)] == [False, True]


def test_those_who_try_again_and_again_do_not_keep_each_other_out() -> None:
    arrivals = Arrivals(per_s=10, burst=1)
    let_in = sum(arrivals.come("a", number / 1_000) == 0 for number in range(10_000))
    assert 90 <= let_in <= 101


def test_so_many_get_an_answer_and_the_others_are_not_heard() -> None:
    arrivals = Arrivals(per_s=10, burst=50)
    for _ in range(50):
        assert arrivals.heard("a", 0.0)
        arrivals.come("a", 0.0)
    # They may be heard at once before any of them has come.
    assert [arrivals.heard("a", 0.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert arrivals.heard("b", 0.0)
    # There is room for one again.
    assert arrivals.heard("a", 0.1)


def test_what_cannot_be_read_counts_as_many() -> None:
    arrivals = Arrivals(per_s=100, burst=100)
    for number in range(100):
        arrivals.offend("a", number * UNREADABLE_S)
    # As many a second are borne for as long as anybody likes; what comes faster is not.
    assert arrivals.come("a", 100 * UNREADABLE_S) == 0
    for _ in range(25):
        arrivals.offend("a", 100 * UNREADABLE_S)
    waits = [arrivals.come("a", 100 * UNREADABLE_S)]
    for _ in range(10_000):
        arrivals.offend("a", 100 * UNREADABLE_S)
    waits.append(arrivals.come("a", 100 * UNREADABLE_S))
    assert 0 < waits[0] < 1 < LONGEST_DEBT_S < waits[1] < LONGEST_DEBT_S + 1


def test_this_machine_has_no_limit() -> None:
    arrivals = Arrivals(per_s=1, burst=1)
    for _ in range(100):
        arrivals.offend("", 0.0)
    assert [arrivals.come("", 0.0) for _ in range(100)] == [0] * 100
    assert arrivals.heard("", 0.0)
