"""How much of something is held."""

from events.limits.load import Load


def test_there_is_a_bound_to_all_and_to_each_key() -> None:
    load = Load(10, 6)
    assert [load.add("a", 4), load.add("a", 2), load.add("a", 1), load.add("b", 5), load.add("b", 4)] == [
        True, True, False, False, True,
    ]  # fmt: skip
    assert load.total == 10
    load.remove("a", 6)
    assert load.add("", 6)
    assert not load.add("", 1)
    load.remove("", 6)
    load.remove("b", 4)
    assert (load.total, load.keys) == (0, 0)
