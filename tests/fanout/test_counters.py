"""Counting, with and without labels, and what is reported of it."""

from events.fanout.counters import Counters


def test_labelled_counts_stand_beside_the_plain_ones() -> None:
    counters = Counters(sent=2)
    counters.count("errors", "unknown_command")
    counters.count("errors", "unknown_command", 2)
    assert counters.as_dict() == Counters(sent=2).as_dict() | {"errors:unknown_command": 3}


def test_only_what_is_new_is_told() -> None:
    counters = Counters(sent=2)
    counters.count("errors", "missing_field")
    before = counters.copy()
    counters.sent += 1
    counters.count("errors", "missing_field")
    counters.count("errors", "invalid_field")
    assert counters.since(before) == {"sent": 1, "errors:missing_field": 1, "errors:invalid_field": 1}
