"""Latencies in buckets: what falls where, and what is read out of them."""

from collections import Counter

import pytest

from events.fanout.latency import BOUNDS, MOST_NOTED, BatchTimes, buckets, observe, quantile, sum_seconds


def test_each_observation_is_in_the_bucket_that_bounds_it() -> None:
    counted: Counter[str] = Counter()
    observe(counted, "bus", 0.005)
    observe(counted, "bus", 0.0051, 3)
    observe(counted, "bus", 99.0)
    found = zip((*BOUNDS, "inf"), buckets(counted, "bus"), strict=True)
    assert {bound: count for bound, count in found if count} == {0.005: 1, 0.01: 3, "inf": 1}
    assert sum_seconds(counted, "bus") == pytest.approx(0.005 + 3 * 0.0051 + 99)
    assert sum(buckets(counted, "group")) == 0


def test_clocks_that_disagree_make_nothing_faster_than_at_once() -> None:
    counted: Counter[str] = Counter()
    observe(counted, "group", -0.5, 2)
    assert buckets(counted, "group")[0] == 2
    assert sum_seconds(counted, "group") == 0


def test_times_of_batches_are_counted_by_stage_and_once() -> None:
    counted: Counter[str] = Counter()
    times = BatchTimes(counted)
    times.note(published=100.0, relayed=101.0, heard=101.2, written=101.203, events=3)
    times.note(published=0.0, relayed=0.0, heard=102.0, written=102.003, events=2)
    assert not counted
    times.count()
    times.count()
    assert [sum(buckets(counted, stage)) for stage in ("group", "socket", "total")] == [3, 5, 3]
    assert sum_seconds(counted, "group") == pytest.approx(3 * 0.2)
    assert sum_seconds(counted, "total") == pytest.approx(3 * 1.203)


def test_no_more_than_a_few_batches_wait_to_be_counted() -> None:
    counted: Counter[str] = Counter()
    times = BatchTimes(counted)
    for _ in range(MOST_NOTED):
        times.note(published=100.0, relayed=100.1, heard=100.2, written=100.3, events=1)
    assert sum(buckets(counted, "total")) == MOST_NOTED


def test_batches_that_two_count_at_the_same_time_are_counted_once() -> None:
    class Interrupted(Counter[str]):
        """Whenever something is counted in it, somebody else begins to count."""

        def __setitem__(self, key: str, value: int) -> None:
            super().__setitem__(key, value)
            times.count()

    counted = Interrupted()
    times = BatchTimes(counted)
    for _ in range(3):
        times.note(published=100.0, relayed=100.1, heard=100.2, written=100.3, events=1)
    times.count()
    assert [sum(buckets(counted, stage)) for stage in ("group", "socket", "total")] == [3, 3, 3]


def test_a_quantile_lies_within_its_bucket() -> None:
    counted: Counter[str] = Counter()
    observe(counted, "total", 0.004, 90)
    observe(counted, "total", 0.4, 10)
    found = buckets(counted, "total")
    assert 0.0025 < (quantile(found, 0.5) or 0) < 0.005
    assert 0.25 < (quantile(found, 0.99) or 0) < 0.5
    assert quantile([0] * len(found), 0.5) is None


def test_what_is_beyond_the_last_bound_counts_as_being_there() -> None:
    counted: Counter[str] = Counter()
    observe(counted, "total", 1000.0)
    assert quantile(buckets(counted, "total"), 0.5) == BOUNDS[-1]
