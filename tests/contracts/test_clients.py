"""`events.ports.ClientRegistry` on memory and on Redis."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from events.clients.encoding import decode, encode
from events.clients.memory import MemoryClientRegistry
from events.clients.redis import RedisClientRegistry
from events.ports import ClientChanges, ClientRegistry, ProcessReport, Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import Clock, eventually
from tests.redis_server import RedisServer


@dataclass
class Registered:
    """A registry, and how its time passes: on memory by setting the clock, on Redis by waiting for it."""

    registry: ClientRegistry
    pass_time: Callable[[float], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
def registered(request: pytest.FixtureRequest, link: RedisLink, keys: Keys) -> Registered:
    if request.param == "memory":
        clock = Clock(100.0)

        async def advance(seconds: float) -> None:
            clock.now += seconds

        return Registered(MemoryClientRegistry(clock), advance)

    async def wait(seconds: float) -> None:
        await eventually(lambda: _all_expired(link, keys))

    return Registered(RedisClientRegistry(link, keys), wait)


async def _all_expired(link: RedisLink, keys: Keys) -> bool:
    return bool(await link.call("EXISTS", keys.report("short"), keys.clients("short")) == 0)


def report(process: str = "p1", **fields: Any) -> ProcessReport:
    made = ProcessReport(process, "server", "host", 123, 1700000000.5, 1700000001.25)
    return replace(made, **fields)


async def test_an_empty_registry_is_empty(registered: Registered) -> None:
    assert await registered.registry.reports() == []
    assert await registered.registry.totals() == {}


async def test_a_report_comes_back_whole(registered: Registered) -> None:
    full = report(
        gauges={"clients": 2, "lag": 0.5, "name": "é🎉", "none": None},
        counters={"sent": 3},
        counted={"sent": 30},
    )
    await registered.registry.report(full, 60)
    assert await registered.registry.reports() == [full]


async def test_the_latest_report_of_each_process_counts(registered: Registered) -> None:
    registry = registered.registry
    await registry.report(report("p2"), 60)
    await registry.report(report("p1", gauges={"clients": 1}), 60)
    await registry.report(report("p1", gauges={"clients": 5}), 60)
    assert [(found.process, found.gauges) for found in await registry.reports()] == [("p1", {"clients": 5}), ("p2", {})]


async def test_counters_add_up_over_reports_and_processes(registered: Registered) -> None:
    registry = registered.registry
    await registry.report(report("p1", counters={"sent": 5, "received": 1}), 60)
    await registry.report(report("p1", counters={"sent": 2}), 60)
    await registry.report(report("p2", counters={"sent": 10, "zero": 0}), 60)
    assert await registry.totals() == {"sent": 17, "received": 1, "zero": 0}


async def test_a_withdrawn_process_is_gone_but_counted(registered: Registered) -> None:
    registry = registered.registry
    await registry.report(report("p1", counters={"sent": 5}), 60)
    await registry.report(report("p2"), 60)
    await registry.withdraw("p1")
    await registry.withdraw("never")
    assert [found.process for found in await registry.reports()] == ["p2"]
    assert await registry.totals() == {"sent": 5}


async def test_a_process_that_stops_reporting_is_gone_but_counted(registered: Registered) -> None:
    registry = registered.registry
    await registry.report(report("short", counters={"sent": 5}), 0.05)
    await registry.report(report("long"), 60)
    await registered.pass_time(0.05)
    assert [found.process for found in await registry.reports()] == ["long"]
    assert await registry.totals() == {"sent": 5}
    await registry.report(report("short"), 60)
    assert [found.process for found in await registry.reports()] == ["long", "short"]


async def test_a_report_is_not_tied_to_its_maker(registered: Registered) -> None:
    gauges = {"clients": 1}
    await registered.registry.report(report(gauges=gauges), 60)
    gauges["clients"] = 99
    [found] = await registered.registry.reports()
    assert found.gauges == {"clients": 1}
    found.gauges["clients"] = 98
    assert (await registered.registry.reports())[0].gauges == {"clients": 1}


async def test_rows_of_clients_are_added_replaced_and_dropped(registered: Registered) -> None:
    registry = registered.registry
    assert await registry.clients("p1") == {}
    assert await registry.put_clients("p1", ClientChanges({"a": b"1", "b": b"2"}), 60) == 2
    assert await registry.put_clients("p1", ClientChanges({"b": b"3", "c": b"4"}, ["a", "never"]), 60) == 2
    assert await registry.clients("p1") == {"b": b"3", "c": b"4"}
    assert await registry.put_clients("p1", ClientChanges(), 60) == 2
    assert await registry.put_clients("p1", ClientChanges({"d": b"5"}, anew=True), 60) == 1
    assert await registry.clients("p1") == {"d": b"5"}
    assert await registry.put_clients("p1", ClientChanges(gone=["d"]), 60) == 0
    assert await registry.clients("p1") == {}


async def test_ten_thousand_rows_come_back_whole(registered: Registered) -> None:
    rows = {f"sid-{number}": b"row %d" % number for number in range(10_000)}
    assert await registered.registry.put_clients("p1", ClientChanges(rows), 60) == 10_000
    assert await registered.registry.clients("p1") == rows


async def test_one_client_is_found_in_whichever_live_process_it_is(registered: Registered) -> None:
    registry = registered.registry
    assert await registry.client("a") is None
    for process, sid in (("p1", "a"), ("p2", "b")):
        await registry.report(report(process), 60)
        await registry.put_clients(process, ClientChanges({sid: process.encode()}), 60)
    assert [await registry.client(sid) for sid in ("a", "b", "c")] == [b"p1", b"p2", None]
    await registry.withdraw("p2")
    assert await registry.client("b") is None
    assert await registry.clients("p2") == {}


async def test_rows_end_with_the_process_that_stopped_putting_them(registered: Registered) -> None:
    registry = registered.registry
    await registry.put_clients("short", ClientChanges({"a": b"1"}), 60)
    assert await registry.put_clients("short", ClientChanges(), 0.05) == 1
    await registered.pass_time(0.05)
    assert await registry.clients("short") == {}
    assert await registry.put_clients("short", ClientChanges({"b": b"2"}), 60) == 1


async def test_on_redis_dead_processes_leave_the_index(link: RedisLink, keys: Keys) -> None:
    registry = RedisClientRegistry(link, keys)
    await registry.report(report("short"), 0.05)
    await registry.report(report("long"), 60)
    await eventually(lambda: _all_expired(link, keys))
    await registry.reports()
    assert await link.call("SMEMBERS", keys.processes) == {b"long"}


async def test_on_redis_a_report_is_all_or_nothing(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    registry = RedisClientRegistry(own_link, keys)
    await registry.report(report(counters={"sent": 1}), 60)
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable):
        await registry.report(report(counters={"sent": 1}, gauges={"clients": 7}), 60)
    assert [found.gauges for found in await registry.reports()] == [{}]
    assert await registry.totals() == {"sent": 1}


async def test_on_redis_trouble_is_unavailable(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    registry = RedisClientRegistry(own_link, keys)
    await registry.report(report(), 60)
    own_redis.kill()
    for call in (registry.report(report(), 60), registry.withdraw("p1"), registry.reports(), registry.totals()):
        with pytest.raises(Unavailable):
            await call


def test_fields_of_a_newer_release_are_passed_over() -> None:
    assert decode(encode(report())[:-1] + b',"new_field":1}') == report()
