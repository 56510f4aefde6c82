"""An even pace."""

from bisect import bisect_right
from itertools import pairwise
from random import Random

import pytest

from events.limits.pace import LONGEST, SHARE, Pace


def looks(pace: Pace, times: list[float]) -> list[int]:
    """How many became due at each of these times."""
    due = [0, *(pace.due(time) for time in times)]
    return [after - before for before, after in pairwise(due)]


def every(step_s: float, start: float, end: float) -> list[float]:
    return [start + step_s * number for number in range(1, round((end - start) / step_s) + 1)]


def test_it_is_even_and_below_the_rate() -> None:
    pace = Pace(1_000, 20.0, 0.1, 100.0)
    found = looks(pace, every(0.1, 100.0, 129.5))
    assert pace.spread_s == pytest.approx(20.0 / SHARE)
    assert sum(found) == 1_000
    assert max(found) <= 5
    assert sum(found[:143]) == pytest.approx(500, abs=2)


@pytest.mark.parametrize("wait_s", [(0.0, 0.05), (0.5, 1.5)], ids=["at once", "as Socket.IO's clients do by default"])
def test_no_second_sees_more_arrive_than_the_rate(wait_s: tuple[float, float]) -> None:
    random = Random(1)
    times = every(0.1, 0.0, 29.0)
    counts = looks(Pace(1_000, 20.0, 0.1, 0.0), times)
    arrivals = sorted(time + random.uniform(*wait_s) for time, count in zip(times, counts, strict=True) for _ in range(count))
    assert max(bisect_right(arrivals, at + 1.0) - place for place, at in enumerate(arrivals)) <= 50


def test_a_pause_is_not_made_up_for_in_a_burst() -> None:
    found = looks(Pace(1_000, 20.0, 0.1, 0.0), [*every(0.1, 0.0, 5.0), *every(0.1, 8.0, 32.5)])
    assert max(found) <= 8
    assert sum(found) == 1_000


def test_late_looks_all_the_time_end_it_all_the_same() -> None:
    times = every(1.0, 0.0, 20.0 * LONGEST)
    found = looks(Pace(1_000, 20.0, 0.1, 0.0), times)
    assert max(found[:-1]) <= 8
    assert sum(found) == 1_000


@pytest.mark.parametrize("total", [0, 3])
def test_without_a_window_all_is_due_at_once(total: int) -> None:
    assert Pace(total, 0.0, 0.1, 5.0).due(5.0) == total
