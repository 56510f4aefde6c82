"""What is odd about an execution."""

from typing import Any

import pytest

from events.domain.durations import MAX_NODES, REMEMBERED, Typical, durations, joined, typical
from events.domain.execution import Execution
from events.domain.oddities import read_time, sequence_oddities, silence, state_oddities
from events.domain.snapshot import fold_all

NOON = read_time("2026-01-24T12:00:00Z") or 0.0


def at(second: float) -> str:
    return f"2026-01-24T12:{int(second // 60):02}:{second % 60:06.3f}Z"


def told(*events: tuple[str, float, dict[str, Any]], workflow: str = "w1") -> Execution:
    """The execution after some events: type, second after noon, further fields."""
    bodies = [
        {"type": kind, "execution_id": "x", "workflow_id": workflow, "timestamp": at(second), **fields}
        for kind, second, fields in events
    ]
    return fold_all(None, [(body, number) for number, body in enumerate(bodies, 1)])


def node(kind: str, second: float, node_id: str = "n1", **fields: Any) -> tuple[str, float, dict[str, Any]]:
    return (f"node_{kind}", second, {"node_id": node_id, **fields})


Told = tuple[str, float, dict[str, Any]]

START: Told = ("execution_started", 0.0, {})
END: Told = ("execution_completed", 9.0, {"status": "completed"})
WHOLE = told(START, node("started", 1), node("completed", 3, duration_ms=2_000), END)


def test_an_execution_in_order_is_not_odd() -> None:
    assert state_oddities(WHOLE) == {}
    assert state_oddities(told(START, node("started", 1))) == {}


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([node("completed", 1), END], "It ended, and nothing told that it had started."),
        ([START, node("completed", 1), END], "Node n1 ended, and nothing told that it had started."),
        ([START, node("started", 1), node("failed", 0.5), END], "Node n1 ended before it had started, by its timestamps."),
        ([START, END, ("signal", 10, {})], "Events came after its end."),
        ([START, node("started", 1), END], "It ended while nodes were running."),
        ([("execution_started", 10, {}), ("execution_completed", 9, {})], "It ended before it had started, by its timestamps."),
    ],
)
def test_what_makes_no_sense_is_said(events: list[tuple[str, float, dict[str, Any]]], text: str) -> None:
    assert text in state_oddities(told(*events)).values()


def test_of_many_nodes_the_first_are_named() -> None:
    two = told(START, *(node("completed", 1, name) for name in ("a", "b")))
    assert list(state_oddities(two).values()) == ["Nodes a, b ended, and nothing told that they had started."]
    steps = [step for number in range(7) for step in (node("started", 2, f"n{number}"), node("completed", 1, f"n{number}"))]
    texts = list(state_oddities(told(START, *steps)).values())
    assert texts == ["Nodes n0, n1, n2, n3, n4 and 2 more ended before they had started, by their timestamps."]


def usual(*executions: Execution) -> Typical:
    return typical(durations(executions))


def test_typical_durations_are_medians_per_workflow_and_node() -> None:
    runs = [told(START, node("started", 1), node("completed", 3, duration_ms=ms)) for ms in (100, 200, 90_000)]
    other = told(START, node("started", 1), node("failed", 3, duration_ms=7_000), workflow="w2")
    assert usual(*runs, other) == {("w1", "n1"): 0.2, ("w2", "n1"): 7.0}


def test_what_is_remembered_of_a_workflow_is_bounded_and_follows_what_is_new() -> None:
    before = {"old": [1.0], "n1": [float(number) for number in range(REMEMBERED)]}
    assert joined(before, {"n1": [99.0]}) == {"n1": [*before["n1"][1:], 99.0], "old": [1.0]}
    many = {f"n{number}": [1.0] for number in range(MAX_NODES)}
    full = joined(before, many)
    assert len(full) == MAX_NODES
    assert "old" not in full


def test_silence_is_measured_by_what_its_nodes_usually_take() -> None:
    typical = usual(WHOLE, told(START, node("started", 1, "slow"), node("completed", 3, "slow", duration_ms=60_000)))
    running = told(START, node("started", 1))
    assert silence(running, typical, NOON + 11) == ""
    assert silence(running, typical, NOON + 11.1) == "Silent for 10 s; its nodes usually take up to 2.0 s."
    slow = told(START, node("started", 1, "slow"))
    assert silence(slow, typical, NOON + 300) == ""
    assert silence(slow, typical, NOON + 302) != ""
    # Between two nodes the slowest node of the workflow counts.
    assert silence(told(START), typical, NOON + 299) == ""
    assert silence(told(START), typical, NOON + 301) != ""


def test_of_workflows_that_are_new_a_long_silence_shows() -> None:
    new = told(START, node("started", 1), workflow="new")
    assert silence(new, usual(WHOLE), NOON + 300) == ""
    assert silence(new, usual(WHOLE), NOON + 302) == "Silent for 301 s; nobody knows what its nodes usually take."
    assert silence(WHOLE, usual(WHOLE), NOON + 3_000) == ""


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([], []),
        ([None, "1", True, 1.5], []),
        ([7, 8, 9], []),
        ([1, 2, 5, 7], ["Numbers are missing at the source: 3 to 4, 6."]),
        ([1, 3, 2], ["Events came in another order than the source numbered them."]),
        ([1, 2, 2, 3], ["Numbers were used more than once at the source."]),
        (
            list(range(0, 20, 2)),
            ["Numbers are missing at the source: 1, 3, 5, 7, 9 and 4 more ranges."],
        ),
    ],
)
def test_numbers_of_the_source(numbers: list[Any], texts: list[str]) -> None:
    assert sequence_oddities([{"sequence": number} for number in numbers]) == texts


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-01"])
def test_times_that_cannot_be_read_are_none(text: str | None) -> None:
    assert read_time(text) is None
