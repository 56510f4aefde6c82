"""What is told of all processes, from a server process and from one that serves nobody; the bridge between them; publishing."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
from django.db import transaction

from events import bridge, publish, stats
from events.conf import EventsConfig
from events.domain.event import InvalidEvent
from events.domain.topics import ALL
from events.fanout import presence
from events.fanout.counters import Counters
from events.fanout.session import ClientInfo, Session
from events.fanout.wire import Dialect
from events.ports import Canary, ClientChanges, Emergency, ProcessReport, Unavailable
from events.wiring import Adapters, ServerProcess, server
from tests.contracts.support import event, eventually, write
from tests.fanout.support import RecordingPipe, until
from tests.monitoring.conftest import Elsewhere
from tests.redis_server import RedisServer, free_port

EVENT = {"type": "signal", "execution_id": "x", "workflow_id": "w1", "timestamp": "2026-01-24T10:00:00Z"}


def report(process: str, kind: str = "server", started: float = 100.0, **fields: Any) -> ProcessReport:
    return ProcessReport(process, kind, "host", 1, started, started + 1, **fields)


async def put(adapters: Adapters, process: str, *sids: str) -> None:
    """Clients that another process tells of."""
    limits = EventsConfig().session
    rows = {
        sid: orjson.dumps(
            Session(sid, Dialect.PLAIN, RecordingPipe(), limits, ClientInfo(), print).row() | {"process": process}
        )
        for sid in sids
    }
    await adapters.registry.put_clients(process, ClientChanges(rows), 60)


@asynccontextmanager
async def embedded_server() -> AsyncIterator[ServerProcess]:
    process = await server.ensure()
    try:
        await until(lambda: process.hub.ready and process.hub.heard_at)
        yield process
    finally:
        await server.stop()


# -- a process that serves nobody ----------------------------------------------------------------------------------------


def test_the_reports_of_all_processes_make_one_snapshot(elsewhere: Elsewhere) -> None:
    async def act(adapters: Adapters) -> None:
        await adapters.registry.report(report("b", started=50.0, counters={"connections": 2, "sent": 5}), 60)
        await put(adapters, "b", "s1", "s2")
        await adapters.registry.report(report("a", started=70.0, counters={"connections": 1}), 60)
        await put(adapters, "a", "s3")
        await adapters.registry.report(report("r", "runbus", started=10.0, counters={"received": 9}), 60)
        await write(adapters.history, event(), event())

    elsewhere(act)
    found = stats.snapshot()
    assert [process.process for process in found.processes] == ["r", "b", "a"]
    assert sorted(client.sid for client in found.clients) == ["s1", "s2", "s3"]
    assert found.started == 50.0
    assert found.totals == Counters(connections=3, received=9, sent=5).as_dict()
    assert found.recent_buffer == 2


def test_without_any_report_there_is_nothing_to_tell(on_redis: EventsConfig) -> None:
    found = stats.snapshot()
    assert (found.processes, found.clients, found.recent_buffer) == ([], [], 0)
    assert set(found.totals.values()) == {0}


def test_health_without_a_relay_says_how_to_start_one(on_redis: EventsConfig) -> None:
    health = stats.health()
    assert not health.healthy
    assert health.state.healthy
    assert "python manage.py runbus" in health.events.detail


def test_health_with_a_relay(elsewhere: Elsewhere) -> None:
    async def act(adapters: Adapters) -> None:
        await adapters.lease.acquire("r", 60)
        await adapters.state.set_emergency(Emergency("halt", "drill"))
        await adapters.registry.report(report("b", counters={"connections": 4}, gauges={"clients": 1}), 60)

    elsewhere(act)
    health = stats.health()
    assert health.healthy
    assert (health.emergency, health.connected_clients, health.total_connections) == (Emergency("halt", "drill"), 1, 4)


def test_health_of_a_redis_that_is_gone(settings: Any) -> None:
    settings.EVENTS = replace(settings.EVENTS, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    health = stats.health()
    assert not health.state.healthy
    assert not health.events.healthy
    assert "cannot be reached" in health.state.detail
    with pytest.raises(Unavailable):
        stats.snapshot()


def test_health_of_the_embedded_default_without_a_server(embedded: EventsConfig) -> None:
    health = stats.health()
    assert not health.healthy
    assert "python manage.py serve" in health.events.detail


# -- a server process ----------------------------------------------------------------------------------------------------


async def test_a_server_process_knows_of_itself_what_it_has_not_reported_yet(embedded: EventsConfig) -> None:
    async with embedded_server() as process:
        session = Session("s1", Dialect.PLAIN, RecordingPipe(), embedded.session, ClientInfo(), lambda reason: None)
        process.hub.add(session)
        await process.hub.open(ALL)
        process.hub.join(session, ALL)
        await publish.apublish(EVENT, EVENT)
        await until(lambda: session.sent == 2)
        found = await asyncio.to_thread(stats.snapshot)
        assert [client.sid for client in found.clients] == ["s1"]
        assert found.clients[0].everything
        assert (found.totals["connections"], found.totals["received"], found.totals["sent"]) == (1, 2, 2)
        update = await stats.stats_update(process)
        assert update["connections"] == {"current": 1, "total": 1}
        assert update["subscriptions"] == {"total": 1}
        assert update["events"] == {"received": 2, "sent": 2, "recent_buffer": 2}
        health = await stats.read_health(process.adapters, process)
        assert health.healthy, (health.state, health.events)


async def test_what_was_reported_is_not_counted_again(embedded: EventsConfig) -> None:
    async with embedded_server() as process:
        await publish.apublish(EVENT)
        await until(lambda: process.counters().received == 1)
        for _ in range(3):
            await process.report_now()
        found = await asyncio.to_thread(stats.snapshot)
        assert found.totals["received"] == 1


async def test_a_change_that_could_not_be_told_is_told_later(embedded: EventsConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody is looked at but the first one, unless something changed.
    monkeypatch.setattr(presence, "STEP_CLIENTS", 1)
    monkeypatch.setattr(presence, "TRAFFIC_ROWS", -1)
    async with embedded_server() as process:
        registry = process.adapters.registry
        tell, refused = registry.report, 0

        def come(sid: str) -> None:
            limits = embedded.session
            process.hub.add(Session(sid, Dialect.PLAIN, RecordingPipe(), limits, ClientInfo(), lambda reason: None))

        async def told() -> bool:
            return list(await registry.clients(process.name)) == list(process.hub.sessions)

        async def report(*told: Any) -> None:
            nonlocal refused
            if refused < 2:
                refused += 1
                raise Unavailable("away")
            await tell(*told)

        come("s0")
        await eventually(told)
        monkeypatch.setattr(registry, "report", report)
        come("s1")
        await eventually(told)
        assert refused == 2


async def test_views_in_threads_reach_the_server_process(embedded: EventsConfig) -> None:
    async with embedded_server() as process:
        found = await asyncio.to_thread(stats.snapshot)
        assert [each.process for each in found.processes] == [process.name]
        ids = await asyncio.to_thread(publish.publish, EVENT)
        assert len(ids) == 1
        await until(lambda: process.counters().received == 1)


async def test_a_deaf_hub_and_a_dead_task_show_in_health(embedded: EventsConfig) -> None:
    async with embedded_server() as process:
        process.hub.heard_at = process.started_monotonic = process.started_monotonic - 100
        process.tasks.states["group"].running = False
        process.tasks.states["group"].failure = "ValueError: broken"
        health = await stats.read_health(process.adapters, process)
        assert "group (ValueError: broken)" in health.events.detail
        process.tasks.states["group"].running = True
        process.hub.heard_at = process.started_monotonic
        health = await stats.read_health(process.adapters, process)
        assert "has not heard from the relay for" in health.events.detail


async def test_a_blocked_way_and_a_lagging_relay_show_in_health(embedded: EventsConfig) -> None:
    async with embedded_server() as process:
        await until(lambda: process.hub.canary)
        assert (await stats.read_health(process.adapters, process)).healthy
        now = time.time()
        process.hub.receive_canary(Canary(now - 6, now))
        assert "6 s behind the event bus" in (await stats.read_health(process.adapters, process)).events.detail
        process.hub.canary_at = process.started_monotonic = time.monotonic() - 8
        assert (
            "Nothing came through the event bus for 8 s" in (await stats.read_health(process.adapters, process)).events.detail
        )
        process.hub.receive_canary(Canary(now, now))
        assert (await stats.read_health(process.adapters, process)).healthy


async def test_a_process_that_stood_still_or_drains_is_not_to_get_clients(
    embedded: EventsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded_server() as process:
        monkeypatch.setattr(type(process.loop_watch), "worst_s", 3.21)
        health = await stats.read_health(process.adapters, process)
        assert not health.healthy
        assert "stood still for 3.2 s" in health.process.detail
        monkeypatch.setattr(type(process.loop_watch), "worst_s", 0.0)
        process.draining = True
        assert "draining" in (await stats.read_health(process.adapters, process)).process.detail


async def test_without_the_stream_there_are_no_canaries_and_none_are_missed(embedded: EventsConfig) -> None:
    assert replace(embedded, redis_url="redis://127.0.0.1/0", bus_inputs=("pubsub",)).sends_canaries is False
    assert embedded.sends_canaries


# -- the bridge ----------------------------------------------------------------------------------------------------------


async def thread_name(adapters: Adapters, process: ServerProcess | None) -> str:
    return threading.current_thread().name


async def adapters_of(adapters: Adapters, process: ServerProcess | None) -> Adapters:
    return adapters


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "events-loop"]


def test_a_process_without_a_server_keeps_one_loop_and_its_connections(on_redis: EventsConfig) -> None:
    assert bridge.ask(thread_name) == "events-loop"
    assert bridge.ask(adapters_of) is bridge.ask(adapters_of)
    assert len(loop_threads()) == 1


def test_closing_ends_the_thread_and_the_next_question_starts_another(on_redis: EventsConfig) -> None:
    before = bridge.ask(adapters_of)
    bridge.close()
    assert loop_threads() == []
    bridge.close()
    assert bridge.ask(adapters_of) is not before


def test_closing_closes_the_connections(on_redis: EventsConfig, redis_server: RedisServer) -> None:
    others = len(redis_server.command("CLIENT", "LIST").splitlines())
    stats.snapshot()
    assert len(redis_server.command("CLIENT", "LIST").splitlines()) > others
    bridge.close()
    assert len(redis_server.command("CLIENT", "LIST").splitlines()) == others


def test_a_changed_configuration_gets_a_loop_of_its_own_and_the_old_one_ends(on_redis: EventsConfig, settings: Any) -> None:
    before = bridge.ask(adapters_of)
    settings.EVENTS = replace(on_redis, redis_prefix="changed")
    assert bridge.ask(adapters_of) is not before
    assert len(loop_threads()) == 1


def test_a_question_without_an_answer_ends_in_time(on_redis: EventsConfig) -> None:
    async def never(adapters: Adapters, process: ServerProcess | None) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Unavailable):
        bridge.ask(never, 0.05)


def test_the_error_of_a_question_is_the_callers(on_redis: EventsConfig) -> None:
    async def wrong(adapters: Adapters, process: ServerProcess | None) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        bridge.ask(wrong)


# -- publishing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def published(on_redis: EventsConfig, redis_server: RedisServer) -> Callable[[], list[dict[str, Any]]]:
    """What is on the bus."""

    def read() -> list[dict[str, Any]]:
        return [orjson.loads(fields[b"event"]) for _, fields in redis_server.command("XRANGE", on_redis.bus_name, "-", "+")]

    return read


def test_publishing_from_a_process_without_a_server(published: Callable[[], list[dict[str, Any]]]) -> None:
    ids = publish.publish(EVENT, {**EVENT, "n": 2})
    assert len(ids) == 2
    assert published() == [EVENT, {**EVENT, "n": 2}]


def test_an_invalid_event_keeps_the_others_back_too(published: Callable[[], list[dict[str, Any]]]) -> None:
    with pytest.raises(InvalidEvent, match="workflow_id is missing"):
        publish.publish(EVENT, {key: value for key, value in EVENT.items() if key != "workflow_id"})
    with pytest.raises(InvalidEvent, match="cannot be written as JSON"):
        publish.publish({**EVENT, "what": object()})
    assert published() == []


def test_publishing_beside_an_embedded_server_is_refused_with_a_way_out(embedded: EventsConfig) -> None:
    with pytest.raises(Unavailable, match="POST /api/events"):
        publish.publish(EVENT)


@pytest.mark.django_db(transaction=True)
def test_publishing_on_commit(published: Callable[[], list[dict[str, Any]]]) -> None:
    publish.publish_on_commit({**EVENT, "n": 1})
    assert [each["n"] for each in published()] == [1]
    with transaction.atomic():
        publish.publish_on_commit({**EVENT, "n": 2}, {**EVENT, "n": 3})
        assert [each["n"] for each in published()] == [1]
    assert [each["n"] for each in published()] == [1, 2, 3]


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_published(published: Callable[[], list[dict[str, Any]]]) -> None:
    with transaction.atomic():
        publish.publish_on_commit(EVENT)
        transaction.set_rollback(True)
    assert published() == []


@pytest.mark.django_db(transaction=True)
def test_an_invalid_event_is_refused_before_the_commit(published: Callable[[], list[dict[str, Any]]]) -> None:
    with transaction.atomic(), pytest.raises(InvalidEvent):
        publish.publish_on_commit({"type": "signal"})
    assert published() == []
