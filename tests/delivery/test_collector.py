"""The garbage collector of a process."""

import gc
from collections.abc import Iterator

import pytest

from events.collector import YOUNG, settle


@pytest.fixture(autouse=True)
def _afterwards_as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_what_is_loaded_is_not_gone_through_again() -> None:
    loaded: list[list[object]] = [[]]
    settle()
    assert gc.get_threshold()[0] == YOUNG
    assert gc.get_freeze_count() > 0
    assert not any(each is loaded for each in gc.get_objects())


def test_cycles_that_come_later_are_still_found() -> None:
    settle()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
