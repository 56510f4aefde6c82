"""An even pace."""

from itertools import pairwise

import pytest

from events.limits.pace import LONGEST, Pace


def looks(pace: Pace, times: list[float]) -> list[int]:
    """How many became due at each of these times."""
    due = [0, *(pace.due(time) for time in times)]
    return [after - before for before, after in pairwise(due)]


def every(step_s: float, start: float, end: float) -> list[float]:
    return [start + step_s * number for number in range(1, round((end - start) / step_s) + 1)]


def test_it_is_even_and_ends_with_the_window() -> None:
    found = looks(Pace(1_000, 20.0, 0.1, 100.0), every(0.1, 100.0, 120.5))
    assert sum(found) == 1_000
    assert max(found) <= 6
    assert sum(found[:100]) == pytest.approx(500, abs=2)


def test_a_pause_is_not_made_up_for_in_a_burst() -> None:
    found = looks(Pace(1_000, 20.0, 0.1, 0.0), [*every(0.1, 0.0, 5.0), *every(0.1, 8.0, 23.5)])
    assert max(found) <= 11
    assert sum(found) == 1_000


def test_late_looks_all_the_time_end_it_all_the_same() -> None:
    times = every(1.0, 0.0, 20.0 * LONGEST)
    found = looks(Pace(1_000, 20.0, 0.1, 0.0), times)
    assert max(found[:-1]) <= 11
    assert sum(found) == 1_000


@pytest.mark.parametrize("total", [0, 3])
def test_without_a_window_all_is_due_at_once(total: int) -> None:
    assert Pace(total, 0.0, 0.1, 5.0).due(5.0) == total
