"""Events as executors publish them, and what must hold of those that clients get."""

from collections.abc import Iterable, Sequence
from typing import Any


def event(number: int, workflow: str, bot: str | None = None, strategy: str | None = None, **fields: Any) -> dict[str, Any]:
    """One event of a run. `number` tells it from the others."""
    optional = {"bot_id": bot, "strategy_id": strategy}
    return {
        "type": "node_completed",
        "execution_id": f"exec_{workflow}_a1b2c3d4",
        "workflow_id": workflow,
        **{name: value for name, value in optional.items() if value is not None},
        "timestamp": "2026-01-24T10:00:00.000Z",
        "number": number,
        **fields,
    }


def run_of(
    count: int, workflow: str, bot: str | None = None, strategy: str | None = None, start: int = 0
) -> list[dict[str, Any]]:
    return [event(number, workflow, bot, strategy) for number in range(start, start + count)]


def numbers(delivered: Iterable[dict[str, Any]]) -> list[int]:
    return [item["number"] for item in delivered]


def published(delivered: dict[str, Any]) -> dict[str, Any]:
    """A delivered event without what the server added."""
    return {name: value for name, value in delivered.items() if name not in ("event_id", "offsets")}


def assert_contiguous(delivered: Sequence[dict[str, Any]], kind: str) -> None:
    """The offsets of one topic have no hole and no repetition."""
    offsets = [item["offsets"][kind] for item in delivered]
    assert offsets == list(range(offsets[0], offsets[0] + len(offsets))), offsets


def assert_delivered(delivered: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]], kind: str) -> None:
    """Each published event once, in order, untouched, and numbered without a hole."""
    assert [published(item) for item in delivered] == list(expected)
    assert_contiguous(delivered, kind)
