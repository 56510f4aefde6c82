"""Waiting times after failures."""

from events.limits.backoff import FIRST_S, FORGIVE_S, LONGEST_S, Backoff


def wait_s(backoff: Backoff, key: str, now: float) -> float:
    """What a try would be told, which then succeeds."""
    waited = backoff.begin(key, now)
    if not waited:
        backoff.end(key, now, failed=False)
    return waited


def test_some_failures_are_free_and_then_the_wait_doubles() -> None:
    backoff, waits = Backoff(allowed=2), []
    for now in (0.0, 1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 40.0, 80.0, 140.0):
        backoff.fail("a", now)
        waits.append(wait_s(backoff, "a", now))
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S]
    assert wait_s(backoff, "b", 140.0) == 0
    assert wait_s(backoff, "a", 200.0) == 0


def test_any_number_of_failures_can_be_counted() -> None:
    backoff = Backoff(allowed=0)
    for now in range(5_000):
        backoff.fail("a", float(now))
    assert wait_s(backoff, "a", 4_999.0) == LONGEST_S


def test_time_makes_good_and_success_does_not() -> None:
    backoff = Backoff(allowed=2)
    for _ in range(3):
        backoff.fail("a", 0.0)
        assert wait_s(backoff, "b", 0.0) == 0
    assert wait_s(backoff, "a", 1.0) == 0
    backoff.fail("a", 1.0)
    assert wait_s(backoff, "a", 1.0) == 2
    # Of four, three are forgiven by then.
    later = 1.0 + 3 * FORGIVE_S
    backoff.fail("a", later)
    assert wait_s(backoff, "a", later) == 0
    backoff.fail("a", later)
    assert wait_s(backoff, "a", later) == FIRST_S


def test_who_has_failed_too_often_tries_one_at_a_time() -> None:
    backoff = Backoff(allowed=1)
    assert [backoff.begin("a", 0.0) for _ in range(3)] == [0, 0, 0]
    for _ in range(3):
        backoff.end("a", 0.0, failed=True)
    assert [backoff.begin("a", 4.0) for _ in range(3)] == [0, FIRST_S, FIRST_S]
    backoff.end("a", 5.0, failed=False)
    assert wait_s(backoff, "a", 5.0) == 0


def test_tries_that_were_begun_before_it_failed_too_often_count_and_others_end_none() -> None:
    backoff = Backoff(allowed=1)
    assert [backoff.begin("a", 0.0) for _ in range(3)] == [0, 0, 0]
    backoff.end("a", 0.0, failed=True)
    assert backoff.begin("a", 0.0) == FIRST_S
    backoff.end("a", 0.0, failed=False)
    backoff.fail("a", 0.0)
    assert backoff.begin("a", 1.0) == FIRST_S
    backoff.end("a", 1.0, failed=False)
    assert backoff.begin("a", 1.0) == 0


def test_memory_is_bounded_and_the_oldest_failure_goes() -> None:
    backoff = Backoff(allowed=0, max_keys=2)
    for key in ("a", "b", "c"):
        backoff.fail(key, 0.0)
    assert len(backoff) == 2
    assert [wait_s(backoff, key, 0.0) for key in ("a", "b", "c")] == [0, 1, 1]
