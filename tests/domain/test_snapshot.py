"""Folding events into the state of their execution."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.domain.execution import Counts, Execution, LastEvent, NodeState, decode, encode
from events.domain.snapshot import MAX_NODES, MAX_TEXT, fold, fold_all

Event = dict[str, Any]


def at(seconds: float) -> str:
    return f"2026-01-24T10:00:{seconds:06.3f}Z"


def event(kind: str, seconds: float = 0, **fields: Any) -> Event:
    return {"type": kind, "execution_id": "x", "workflow_id": "w", "timestamp": at(seconds), **fields}


def state(*events: Event) -> Execution:
    return fold_all(None, [(each, number) for number, each in enumerate(events, 1)])


STARTED = event("execution_started", 0, bot_id="b", strategy_id="s", node_count=2)
NODE = event("node_started", 1, node_id="n", node_name="Binance Price Feed", node_category="providers")
NODE_DONE = event("node_completed", 2, node_id="n", duration_ms=45, status="success", outputs={"price": 1})
NODE_FAILED = event("node_failed", 2, node_id="n", duration_ms=45, error="Connection timeout", error_type="TimeoutError")
DONE = event("execution_completed", 9, duration_ms=900, status="completed", results={"large": [1, 2, 3]})


def test_a_whole_run() -> None:
    assert state(STARTED, NODE, NODE_DONE, DONE) == Execution(
        execution_id="x",
        workflow_id="w",
        bot_id="b",
        strategy_id="s",
        status="completed",
        started=at(0),
        finished=at(9),
        duration_ms=900,
        node_count=2,
        nodes={"n": NodeState("n", "Binance Price Feed", "providers", "completed", at(1), at(2), 45)},
        counts=Counts(1, 1, 0),
        last_event=LastEvent("execution_completed", at(9)),
        events=4,
        first=1,
        last=4,
    )


def test_the_shape_that_clients_get() -> None:
    assert state(STARTED, NODE, NODE_FAILED).to_dict() == {
        "execution_id": "x",
        "workflow_id": "w",
        "bot_id": "b",
        "strategy_id": "s",
        "status": "running",
        "started": at(0),
        "finished": None,
        "duration_ms": None,
        "node_count": 2,
        "nodes": [
            {
                "node_id": "n",
                "name": "Binance Price Feed",
                "category": "providers",
                "status": "failed",
                "started": at(1),
                "finished": at(2),
                "duration_ms": 45,
                "error": "Connection timeout",
                "error_type": "TimeoutError",
            }
        ],
        "counts": {"started": 1, "completed": 0, "failed": 1},
        "error": "Connection timeout",
        "last_event": {"type": "node_failed", "timestamp": at(2)},
        "events": 3,
        "first": 1,
        "last": 3,
    }


def test_ids_that_no_event_told_are_left_out() -> None:
    assert {"bot_id", "strategy_id"}.isdisjoint(state(NODE).to_dict())


def test_topics_are_those_of_all_its_events() -> None:
    assert state(NODE).topics == ("all", "workflow:w")
    assert state(NODE, event("custom", bot_id="b"), event("custom", strategy_id="s:1")).topics == (
        "all",
        "workflow:w",
        "bot:b",
        "strategy:s:1",
    )


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "completed"}, "completed"),
        ({"status": "failed"}, "failed"),
        ({"status": "cancelled by hand"}, "cancelled by hand"),
        ({}, "completed"),
        ({"status": ""}, "completed"),
        ({"status": 5}, "completed"),
        ({"status": "running"}, "completed"),
    ],
)
def test_the_status_is_the_publishers_word(fields: Event, status: str) -> None:
    assert state(STARTED, event("execution_completed", 9, **fields)).status == status


def test_the_error_is_the_newest_failure() -> None:
    second = event("node_failed", 3, node_id="m", error="Later")
    assert state(NODE_FAILED, second, event("node_failed", 4, node_id="o")).error == "Later"
    assert state(NODE_FAILED, event("execution_completed", 9, status="failed", error="All of it")).error == "All of it"
    assert state(NODE_FAILED, NODE_DONE, DONE).error == "Connection timeout"


def test_nodes_are_in_the_order_in_which_they_appeared() -> None:
    seen = [event("node_started", node_id=name) for name in "cab"] + [event("node_completed", node_id=name) for name in "abc"]
    assert list(state(*seen).nodes) == ["c", "a", "b"]


@pytest.mark.parametrize("end", [NODE_DONE, NODE_FAILED])
def test_a_start_after_the_end_only_fills_in(end: Event) -> None:
    node = state(end, NODE).nodes["n"]
    assert node == state(NODE, end).nodes["n"]
    assert state(end).nodes["n"].started is None
    assert state(end, {**NODE, "timestamp": end["timestamp"]}).nodes["n"].status == node.status


def test_a_later_start_runs_a_node_again() -> None:
    again = event("node_started", 3, node_id="n")
    assert state(NODE, NODE_FAILED, again).nodes["n"] == NodeState("n", "Binance Price Feed", "providers", "running", at(3))
    execution = state(NODE, NODE_FAILED, again, event("node_completed", 4, node_id="n"))
    assert execution.nodes["n"] == NodeState("n", "Binance Price Feed", "providers", "completed", at(3), at(4))
    assert execution.counts == (2, 1, 1)


def test_late_events_never_change_the_terminal_status() -> None:
    done = state(STARTED, NODE, DONE)
    late = fold_all(done, [(NODE_DONE, 4), (event("node_started", 30, node_id="m"), 5), (STARTED, 6), (event("custom", 40), 7)])
    assert (late.status, late.finished, late.duration_ms) == ("completed", at(9), 900)
    assert late.nodes["n"].status == "completed"
    assert late.nodes["m"].status == "running"
    assert late.last_event == ("custom", at(40))


def test_an_end_before_the_start_stays_an_end() -> None:
    execution = state(DONE, STARTED)
    assert (execution.status, execution.started, execution.finished) == ("completed", at(0), at(9))


@pytest.mark.parametrize("later", ["2026-01-24T10:00:09.001Z", "2026-01-24T11:00:10+01:00", "2026-01-24T10:00:10"])
def test_a_start_later_than_the_end_is_a_new_run(later: str) -> None:
    again = {**STARTED, "timestamp": later}
    assert state(STARTED, NODE_FAILED, DONE, again) == fold(None, again, 4)


def test_an_event_that_was_seen_changes_nothing() -> None:
    execution = fold(fold(None, STARTED, 10), NODE, 20)
    for number in (1, 10, 15, 20):
        assert fold(execution, NODE_FAILED, number) is execution
    assert fold_all(execution, []) is execution


def test_unknown_types_are_counted() -> None:
    before = state(STARTED, NODE)
    after = fold(before, event("price_tick", 5, status="failed", error="no", node_id="m"), 7)
    assert (after.events, after.last, after.last_event) == (3, 7, ("price_tick", at(5)))
    assert (after.status, after.nodes, after.counts, after.error) == (before.status, before.nodes, before.counts, None)


@pytest.mark.parametrize("odd", [None, True, 5, 1.5, "", [], {}, {"n": 1}, float("inf"), float("nan"), 10**400, -(10**400)])
def test_fields_of_the_wrong_type_are_missing(odd: Any) -> None:
    names = ["node_count", "node_name", "node_category", "duration_ms", "error", "error_type", "status", "bot_id", "timestamp"]
    fields = dict.fromkeys(names, odd)
    for kind in ("execution_started", "node_started", "node_completed", "node_failed", "execution_completed"):
        execution = fold(None, event(kind) | fields | {"node_id": "n"}, 1)
        assert decode(encode(execution)) == execution
        node = execution.nodes.get("n", NodeState("n"))
        assert {node.name, node.category, node.error, node.error_type, node.started, node.finished, execution.bot_id} == {None}
        assert node.duration_ms in (None, 5, 1.5)
        assert execution.node_count in (None, 5)
    without_node = fold(None, event("node_failed", node_id=odd), 1)
    assert (without_node.counts.failed, dict(without_node.nodes)) == (1, {})


def test_without_any_field() -> None:
    assert fold(None, {}, 3) == Execution("", "", events=1, first=3, last=3)
    with pytest.raises(ValueError, match="no execution"):
        fold_all(None, [])


def test_nodes_beyond_the_bound_are_counted_only() -> None:
    many = [event("node_started", node_id=f"n{number}") for number in range(MAX_NODES + 5)]
    execution = state(*many, event("node_failed", node_id="n0", error="e"), event("node_failed", node_id=f"n{MAX_NODES}"))
    assert len(execution.nodes) == MAX_NODES
    assert execution.nodes["n0"].status == "failed"
    assert execution.counts == (MAX_NODES + 5, 0, 2)


def test_long_texts_are_cut_and_long_ids_are_none() -> None:
    execution = state(event("node_failed", node_id="n", error="é" * 5000), event("node_started", node_id="n" * 5000))
    assert execution.error == execution.nodes["n"].error == "é" * MAX_TEXT
    assert list(execution.nodes) == ["n"]


def test_a_state_is_kept_compactly() -> None:
    execution = state(*(event("node_completed", node_id=f"n{number}", duration_ms=number) for number in range(20)))
    assert decode(encode(execution)) == execution
    assert len(encode(execution)) < 0.6 * len(orjson.dumps(execution.to_dict()))


values: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([])
types = ["execution_started", "node_started", "node_completed", "node_failed", "execution_completed", "custom"]
events = st.builds(
    lambda kind, seconds, node, extra: event(kind, seconds, node_id=node, **extra),
    st.sampled_from(types),
    st.integers(0, 20),
    st.sampled_from(["a", "b", "c", None]),
    st.dictionaries(
        st.sampled_from(["status", "duration_ms", "error", "node_count", "bot_id", "node_name", "timestamp"]), values
    ),
)
histories = st.lists(events, min_size=1, max_size=25)


@given(histories, st.lists(st.integers(1, 6), max_size=25))
def test_batches_do_not_matter(history: list[Event], sizes: list[int]) -> None:
    numbered = list(enumerate(history, 1))
    whole = fold_all(None, [(each, number) for number, each in numbered])
    single: Execution | None = None
    for number, each in numbered:
        single = fold(single, each, number)
    assert single == whole
    batched: Execution | None = None
    rest = [(each, number) for number, each in numbered]
    for size in [*sizes, len(rest)]:
        batch, rest = rest[:size], rest[size:]
        if batch:
            batched = fold_all(batched, batch)
    assert batched == whole


@given(histories, st.integers(0, 25))
def test_what_was_seen_may_come_again(history: list[Event], back: int) -> None:
    numbered = [(each, number) for number, each in enumerate(history, 1)]
    execution = fold_all(None, numbered)
    assert fold_all(execution, numbered[-back:]) == execution


@given(histories)
def test_a_state_survives_keeping_and_is_bounded(history: list[Event]) -> None:
    execution = state(*history)
    assert decode(encode(execution)) == execution
    assert orjson.loads(orjson.dumps(execution.to_dict())) == execution.to_dict()
    assert execution.last == len(history)
    assert execution.status
    if execution.first == 1:
        assert execution.events == len(history)
