"""Rates: what a bucket gives, and what it keeps of whom."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.limits.rate import UNLIMITED, KeyedRate, Rate, TokenBucket


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(Rate(per_s=2, burst=4))
    assert [bucket.take(100.0) for _ in range(4)] == [0, 0, 0, 0]
    assert bucket.take(100.0) == pytest.approx(0.5)
    assert bucket.take(100.25) == pytest.approx(0.25)
    assert bucket.take(100.5) == 0
    assert bucket.take(1_000.0, 4) == 0
    assert bucket.take(1_000.0) > 0


def test_what_is_refused_takes_nothing() -> None:
    bucket = TokenBucket(Rate(per_s=1, burst=10))
    assert bucket.take(0.0, 8) == 0
    assert bucket.take(0.0, 3) == pytest.approx(1.0)
    assert bucket.take(0.0, 2) == 0


def test_more_than_the_burst_is_never_given() -> None:
    assert TokenBucket(Rate(per_s=100, burst=10)).take(0.0, 11) == math.inf


def test_no_limit_is_no_limit() -> None:
    bucket = TokenBucket(UNLIMITED)
    assert not any(bucket.take(0.0, 1e9) for _ in range(100))


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 20)), min_size=1, max_size=50))
def test_never_more_than_burst_and_rate_allow(steps: list[tuple[float, float]]) -> None:
    bucket, now, taken = TokenBucket(Rate(per_s=3, burst=10)), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if not bucket.take(now, amount):
            taken += amount
        assert taken <= 10 + 3 * now + 1e-6


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = TokenBucket(Rate(per_s=1, burst=1))
    assert bucket.take(10.0) == 0
    assert bucket.take(9.0) > 0


def test_each_key_has_a_bucket_and_the_idle_ones_are_forgotten() -> None:
    keyed = KeyedRate(Rate(per_s=1, burst=1), max_keys=2)
    assert keyed.take("a", 0.0) == 0
    assert keyed.take("b", 0.0) == 0
    assert keyed.take("a", 0.0) > 0
    assert keyed.take("c", 0.0) == 0  # b goes: a was used later
    assert len(keyed) == 2
    assert keyed.take("a", 0.0) > 0
    assert keyed.take("b", 0.0) == 0


def test_a_key_that_is_only_asked_about_is_not_idle() -> None:
    keyed = KeyedRate(Rate(per_s=1, burst=1), max_keys=2)
    keyed.charge("debtor", 0.0, 10)
    for number in range(3):
        assert keyed.wait_s("debtor", 0.0) > 0
        keyed.take(str(number), 0.0)
    assert keyed.wait_s("debtor", 0.0) > 0
