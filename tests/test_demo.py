"""The demo executor: its runs make sense, it keeps its pace, and a seed makes it repeatable."""

import asyncio
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from typing import Any

import orjson
import pytest

from events.demo import DemoExecutor, Timing
from events.demo.executor import MAX_LAG_S
from events.domain.event import EventLimits, parse_event

Fields = dict[str, Any]

COMMON = {"type", "execution_id", "workflow_id", "bot_id", "strategy_id", "timestamp"}
GUIDE_FIELDS = {
    "execution_started": {"node_count"},
    "node_started": {"node_id", "node_name", "node_category"},
    "node_completed": {"node_id", "duration_ms", "status", "outputs"},
    "node_failed": {"node_id", "duration_ms", "error", "error_type"},
    "execution_completed": {"duration_ms", "status", "results"},
    "signal_generated": {"signal", "symbol", "price", "confidence"},
}


class Clock:
    """A clock that moves only when somebody sleeps, and a publisher that can be slow."""

    def __init__(self, publish_s: float = 0.0) -> None:
        self.now = 1_000.0
        self.publish_s = publish_s
        self.published: list[tuple[float, bytes]] = []

    @property
    def timing(self) -> Timing:
        return Timing(monotonic=lambda: self.now, unix=lambda: self.now + 1_769_000_000, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    async def publish(self, documents: list[bytes]) -> None:
        self.published += [(self.now, document) for document in documents]
        self.now += self.publish_s

    def events(self) -> list[Fields]:
        return [orjson.loads(document) for _, document in self.published]


async def demo(*, rate: float = 50.0, seed: int | None = 1, runs: int = 300, publish_s: float = 0.0) -> Clock:
    clock = Clock(publish_s)
    await DemoExecutor(rate, seed, clock.timing).run(clock.publish, runs=runs)
    return clock


def by_execution(events: list[Fields]) -> list[list[Fields]]:
    executions = defaultdict(list)
    for event in events:
        executions[event["execution_id"]].append(event)
    return list(executions.values())


def unix_ms(event: Fields) -> int:
    return round(datetime.fromisoformat(event["timestamp"]).timestamp() * 1_000)


async def test_every_document_is_an_event_of_its_three_topics() -> None:
    for _, document in (await demo()).published:
        fields = orjson.loads(document)
        topics = parse_event(document, EventLimits()).topics
        workflow, bot, strategy = (fields[name] for name in ("workflow_id", "bot_id", "strategy_id"))
        assert topics == ("all", f"workflow:{workflow}", f"bot:{bot}", f"strategy:{strategy}")


async def test_events_have_the_fields_of_the_guide_and_no_others() -> None:
    seen = set()
    for event in (await demo()).events():
        assert set(event) == COMMON | GUIDE_FIELDS[event["type"]]
        seen.add(event["type"])
    assert seen == set(GUIDE_FIELDS)


async def test_every_execution_starts_once_and_ends_once_with_its_nodes_between() -> None:
    executions = by_execution((await demo()).events())
    assert len(executions) == 300
    for events in executions:
        types = [event["type"] for event in events]
        assert (types[0], types[-1]) == ("execution_started", "execution_completed")
        assert not {"execution_started", "execution_completed"} & set(types[1:-1])
        running: set[str] = set()
        for event in events[1:-1]:
            if event["type"] == "node_started":
                assert event["node_id"] not in running
                running.add(event["node_id"])
            elif event["type"] in ("node_completed", "node_failed"):
                running.remove(event["node_id"])
        assert not running
        assert types.count("node_started") <= events[0]["node_count"]


async def test_durations_are_the_differences_of_the_timestamps() -> None:
    for events in by_execution((await demo()).events()):
        began: dict[str, int] = {}
        for event in events:
            if event["type"] == "node_started":
                began[event["node_id"]] = unix_ms(event)
            elif event["type"] in ("node_completed", "node_failed"):
                assert event["duration_ms"] == unix_ms(event) - began[event["node_id"]]
        assert events[-1]["duration_ms"] == unix_ms(events[-1]) - unix_ms(events[0])


async def test_a_failed_node_fails_its_execution_and_nothing_else_does() -> None:
    executions = by_execution((await demo()).events())
    failed = [events for events in executions if any(event["type"] == "node_failed" for event in events)]
    assert 0.03 < len(failed) / len(executions) < 0.15
    for events in executions:
        assert events[-1]["status"] == ("failed" if events in failed else "completed")


async def test_results_are_the_outputs_of_the_actions() -> None:
    executions = by_execution((await demo()).events())
    assert any(events[-1]["results"] for events in executions)
    for events in executions:
        outputs = {event["node_id"]: event["outputs"] for event in events if event["type"] == "node_completed"}
        actions = {event["node_id"] for event in events if event.get("node_category") == "actions"}
        assert events[-1]["results"] == {node: outputs[node] for node in actions if node in outputs}


async def test_several_bots_and_strategies_run_at_the_same_time() -> None:
    events = (await demo()).events()
    assert len({event["bot_id"] for event in events}) >= 3
    assert len({event["strategy_id"] for event in events}) >= 3
    running = most = 0
    for event in events:
        running += {"execution_started": 1, "execution_completed": -1}.get(event["type"], 0)
        most = max(most, running)
    assert most >= 4


async def test_prices_wander() -> None:
    prices = [
        event["outputs"]["price"]
        for event in (await demo()).events()
        if event["workflow_id"] == "arb_btc_001" and event["type"] == "node_completed" and event["node_id"] == "price_binance"
    ]
    assert len(set(prices)) > len(prices) * 0.9
    assert all(abs(after / before - 1) < 0.03 for before, after in pairwise(prices))


@pytest.mark.parametrize("rate", [2.0, 50.0, 1_000.0])
async def test_the_average_rate_is_the_one_asked_for(rate: float) -> None:
    clock = await demo(rate=rate, runs=400)
    starts = [at for at, document in clock.published if b'"execution_started"' in document]
    assert len(clock.published) / (starts[-1] - starts[0]) == pytest.approx(rate, rel=0.1)


async def test_events_are_published_when_their_timestamp_comes() -> None:
    clock = await demo()
    for at, document in clock.published:
        assert 0 <= (at + 1_769_000_000) * 1_000 - unix_ms(orjson.loads(document)) < 2


async def test_a_slow_publisher_is_not_driven_ever_further_behind() -> None:
    clock = await demo(rate=1_000.0, publish_s=0.7)
    late = [at + 1_769_000_000 - unix_ms(orjson.loads(document)) / 1_000 for at, document in clock.published]
    assert max(late) < MAX_LAG_S + 2 * 0.7 + 4


async def test_the_same_seed_gives_the_same_documents() -> None:
    first, again, other = await demo(seed=7), await demo(seed=7), await demo(seed=8)
    assert first.published == again.published
    assert first.published != other.published


async def test_seconds_end_the_demo_without_leaving_an_execution_open() -> None:
    clock = Clock()
    await DemoExecutor(50.0, 1, clock.timing).run(clock.publish, seconds=10)
    executions = by_execution(clock.events())
    assert executions
    assert all(events[-1]["type"] == "execution_completed" for events in executions)
    assert max(unix_ms(events[0]) for events in executions) < (1_000.0 + 1_769_000_000 + 10) * 1_000
    assert clock.now < 1_000.0 + 10 + 6


async def test_it_stops_when_cancelled() -> None:
    published = asyncio.Event()

    async def publish(_: list[bytes]) -> None:
        published.set()

    task = asyncio.create_task(DemoExecutor(100.0).run(publish))
    await published.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_publisher_raises_ends_the_demo() -> None:
    async def refuse(_: list[bytes]) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await DemoExecutor(100.0).run(refuse)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        DemoExecutor(rate)
