"""Waiting times after failures."""

from events.limits.backoff import FORGET_S, LONGEST_S, Backoff


def test_some_failures_are_free_and_then_the_wait_doubles() -> None:
    backoff, waits = Backoff(allowed=2), []
    for now in range(0, 1_000, 100):
        backoff.failed("a", float(now))
        waits.append(backoff.wait_s("a", float(now)))
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S]
    assert backoff.wait_s("a", 930.0) == 30.0
    assert backoff.wait_s("a", 960.0) == 0
    assert backoff.wait_s("b", 930.0) == 0


def test_any_number_of_failures_can_be_counted() -> None:
    backoff = Backoff(allowed=0)
    for now in range(5_000):
        backoff.failed("a", float(now))
    assert backoff.wait_s("a", 4_999.0) == LONGEST_S


def test_success_and_time_make_good() -> None:
    backoff = Backoff(allowed=0)
    backoff.failed("a", 0.0)
    backoff.succeeded("a")
    assert backoff.wait_s("a", 0.0) == 0
    for now in (0.0, 1.0, FORGET_S + 2.0):
        backoff.failed("a", now)
    assert backoff.wait_s("a", FORGET_S + 2.0) == 1.0


def test_memory_is_bounded_and_the_oldest_failure_goes() -> None:
    backoff = Backoff(allowed=0, max_keys=2)
    for key in ("a", "b", "c"):
        backoff.failed(key, 0.0)
    assert len(backoff) == 2
    assert [backoff.wait_s(key, 0.0) for key in ("a", "b", "c")] == [0, 1, 1]
