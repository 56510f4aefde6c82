"""The states of executions, on memory and on Redis: written with the events, and read at one consistent place."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from events.conf import HistoryLimits
from events.domain.entry import Position
from events.domain.event import Event
from events.domain.execution import Execution
from events.domain.snapshot import fold_all
from events.history.lives import life_ms
from events.history.memory import MemoryHistory
from events.history.redis import RedisHistory
from events.ports import Append, FencedOut, History, Moved, Unavailable
from events.redis_link import Keys, RedisLink
from tests.contracts.support import Build, Clock, event, write
from tests.redis_server import RedisServer


def of(execution_id: str, workflow: str = "w1", kind: str = "node_started", **fields: object) -> Event:
    return event(workflow, type=kind, execution_id=execution_id, node_id="n", **fields)


def states(events: Sequence[Event], after: int, before: Mapping[str, Execution] | None = None) -> dict[str, Execution]:
    """The states after events of which the first has the number `after + 1`."""
    known: dict[str, Execution] = dict(before or {})
    for number, each in enumerate(events, after + 1):
        name = each.fields["execution_id"]
        known[name] = fold_all(known.get(name), [(each.fields, number)])
    return known


async def record(history: History, *events: Event, fence: int = 1, cursor: str = "") -> dict[str, Execution]:
    """Append events with the states that they lead to, as the relay does."""
    position = await history.position()
    names = list(dict.fromkeys(each.fields["execution_id"] for each in events))
    before = {name: found for name, found in zip(names, await history.executions(names), strict=True) if found}
    after = states(events, position.number, before)
    await history.append(Append(fence, position, "stream", cursor, events, (), list(after.values())))
    return after


def ids(executions: Sequence[Execution]) -> list[str]:
    return [execution.execution_id for execution in executions]


async def listed(history: History, topic: str = "all", limit: int = 1000, status: str | None = None) -> list[str]:
    return ids((await history.snapshot(topic, limit, status)).executions)


# -- what is written ---------------------------------------------------------------------------------------------------


async def test_an_empty_history_knows_no_executions(history: History) -> None:
    snapshot = await history.snapshot("workflow:w1", 10)
    assert (snapshot.epoch, snapshot.offset, snapshot.number) == ((await history.position()).epoch, 0, 0)
    assert list(snapshot.executions) == []
    assert await history.executions(["x"]) == [None]
    assert await history.executions([]) == []


async def test_states_come_back_as_they_were_written(history: History) -> None:
    events = [of("x", bot_id="b", kind="node_failed", error='é "quoted" \\ 🎉', duration_ms=1.25), of("y:1/2 \n", "w:2")]
    written = await record(history, *events)
    assert await history.executions(["y:1/2 \n", "none", "x"]) == [written["y:1/2 \n"], None, written["x"]]
    assert list((await history.snapshot("bot:b", 10)).executions) == [written["x"]]
    assert await listed(history, "workflow:w:2") == ["y:1/2 \n"]


async def test_a_new_state_replaces_the_old_one(history: History) -> None:
    await record(history, of("x"), of("y"))
    written = await record(history, of("x", kind="execution_completed", status="failed"))
    assert await history.executions(["x"]) == [written["x"]]
    snapshot = await history.snapshot("workflow:w1", 10)
    assert ids(snapshot.executions) == ["x", "y"]
    assert (snapshot.executions[0].status, snapshot.executions[0].last) == ("failed", 3)


async def test_a_batch_without_states_leaves_them_alone(history: History) -> None:
    written = await record(history, of("x"))
    await write(history, of("x"))
    snapshot = await history.snapshot("all", 10)
    assert list(snapshot.executions) == [written["x"]]
    assert snapshot.number == snapshot.offset == 2


@pytest.mark.parametrize("wrong", ["fenced", "moved"])
async def test_a_step_that_is_refused_writes_no_state(history: History, wrong: str) -> None:
    written = await record(history, of("x"), fence=2)
    here = await history.position()
    events = [of("x"), of("new", "w9")]
    after = list(states(events, here.number, written).values())
    expected = here if wrong == "fenced" else Position(here.epoch, 0)
    batch = Append(1 if wrong == "fenced" else 2, expected, "stream", "9-9", events, (), after)
    with pytest.raises(FencedOut if wrong == "fenced" else Moved):
        await history.append(batch)
    assert await history.executions(["x", "new"]) == [written["x"], None]
    assert await listed(history, "workflow:w9") == []


async def test_a_new_epoch_begins_without_executions(history: History) -> None:
    await record(history, of("x"))
    here = await history.position()
    with pytest.raises(Moved):
        await history.append(Append(1, Position(here.epoch, 5), "stream", "", [of("x")]))
    assert await history.executions(["x"]) == [None]
    assert await listed(history) == []


# -- what is listed ----------------------------------------------------------------------------------------------------


async def test_the_newest_event_comes_first(history: History) -> None:
    await record(history, of("a"), of("b"), of("c"))
    await record(history, of("b"), of("d"), of("a"))
    assert await listed(history) == await listed(history, "workflow:w1") == ["a", "d", "b", "c"]
    assert await listed(history, limit=2) == ["a", "d"]


async def test_topics_list_their_own_executions(history: History) -> None:
    await record(history, of("a", "w1", bot_id="b1"), of("b", "w2", bot_id="b1", strategy_id="s1"), of("c", "w2"))
    found = [
        await listed(history, topic) for topic in ("all", "workflow:w1", "workflow:w2", "bot:b1", "strategy:s1", "bot:none")
    ]
    assert found == [["c", "b", "a"], ["a"], ["c", "b"], ["b", "a"], ["b"], []]


async def test_an_execution_that_moved_to_another_topic_leaves_the_first(history: History) -> None:
    await record(history, of("x", "w1", kind="execution_completed"))
    again = of("x", "w2", kind="execution_started", timestamp="2026-01-24T11:00:00Z")
    await record(history, again)
    assert await listed(history, "workflow:w1") == []
    assert await listed(history, "workflow:w2") == ["x"]


async def test_one_status_can_be_asked_for(history: History) -> None:
    odd = 'ended "status":"running" \\'
    await record(
        history,
        of("a", status="completed", error='"status":"odd"'),
        of("b", kind="execution_completed", status="completed"),
        of('"status":"odd"', kind="execution_completed", status="failed"),
        of("d", kind="execution_completed", status=odd),
        of("e"),
    )
    assert await listed(history, status="running") == ["e", "a"]
    assert await listed(history, status="running", limit=1) == ["e"]
    assert await listed(history, status="completed") == ["b"]
    assert await listed(history, status="failed") == ['"status":"odd"']
    assert await listed(history, status=odd) == ["d"]
    assert await listed(history, status="odd") == []


async def test_a_topic_lists_so_many(build: Build) -> None:
    history = build(executions_per_topic=3)
    for number in range(10):
        await record(history, of(f"x{number}"), of(f"y{number}", "w2"))
    assert await listed(history, "workflow:w1") == ["x9", "x8", "x7"]
    assert await listed(history, "all") == ["y9", "x9", "y8"]
    assert await history.executions(["x0"]) != [None]


async def test_the_executions_without_events_for_longest_give_way(build: Build) -> None:
    history = build(executions=4)
    for number in range(10):
        await record(history, of("kept"), of(f"x{number}", f"w{number}"))
    assert await listed(history) == ["x9", "kept", "x8", "x7"]
    assert [state is None for state in await history.executions(["kept", "x6", "x7"])] == [False, True, False]
    assert await listed(history, "workflow:w6") == []


async def test_many_executions_are_one_step(build: Build) -> None:
    history = build(executions_per_topic=5000)
    written = await record(history, *[of(f"x{number}", bot_id="b") for number in range(3000)])
    assert await history.executions(list(written)) == list(written.values())
    assert len(await listed(history, "bot:b", 5000)) == 3000


async def test_a_snapshot_is_bounded_in_bytes(history: History) -> None:
    big = states([of("x")], 0)["x"]
    node = big.nodes["n"]._replace(error="e" * 1000, error_type="t" * 1000)
    for number in range(1, 6):
        nodes = {f"n{place}": node._replace(node_id=f"n{place}") for place in range(300)}
        execution = replace(big, execution_id=f"x{number}", nodes=nodes, last=number)
        here = await history.position()
        await history.append(Append(1, here, "stream", "", [of(f"x{number}")], (), [execution]))
    assert await listed(history) == ["x5", "x4", "x3"]


# -- where it is true --------------------------------------------------------------------------------------------------


async def test_a_snapshot_names_the_place_at_which_it_is_true(history: History) -> None:
    await record(history, of("a", "w1"), of("b", "w2"), of("a", "w1", bot_id="b1"))
    epoch = (await history.position()).epoch
    found = [await history.snapshot(topic, 10) for topic in ("all", "workflow:w1", "workflow:w2", "bot:b1", "bot:none")]
    assert [(snapshot.epoch, snapshot.number) for snapshot in found] == [(epoch, 3)] * 5
    assert [snapshot.offset for snapshot in found] == [3, 2, 1, 1, 0]


async def test_no_snapshot_is_torn(history: History) -> None:
    """While batches are written, every snapshot equals the fold of exactly the events up to its number."""
    batches = [
        [of(f"x{(number * 7 + place) % 5}", f"w{place % 2}", node_name=f"{number}.{place}") for place in range(1 + number % 4)]
        for number in range(60)
    ]
    everything = [each for batch in batches for each in batch]
    done = asyncio.Event()

    async def writer() -> int:
        for batch in batches:
            await record(history, *batch)
            await asyncio.sleep(0)
        done.set()
        return 0

    async def reader(topic: str) -> int:
        seen = set()
        while not done.is_set():
            snapshot = await history.snapshot(topic, 10)
            so_far = everything[: snapshot.number]
            expected = [state for state in states(so_far, 0).values() if topic in state.topics]
            assert sorted(snapshot.executions, key=lambda each: -each.last) == list(snapshot.executions)
            assert {each.execution_id: each for each in snapshot.executions} == {each.execution_id: each for each in expected}
            assert snapshot.offset == sum(topic in each.topics for each in so_far)
            seen.add(snapshot.number)
            await asyncio.sleep(0)
        return len(seen)

    assert sum(await asyncio.gather(writer(), reader("all"), reader("workflow:w1"))) > 2


# -- only on memory ----------------------------------------------------------------------------------------------------


async def test_an_old_execution_is_forgotten_in_memory(clock: Clock) -> None:
    history = MemoryHistory(HistoryLimits(execution_ttl_s=100), clock)
    await record(history, of("old"), of("kept", "w2"))
    clock.now += 99
    await record(history, of("kept", "w2"))
    assert await listed(history) == ["kept", "old"]
    clock.now += 1
    assert await listed(history) == ["kept"]
    assert await history.executions(["old"]) == [None]
    await record(history, of("new", "w3"))
    assert await listed(history, "workflow:w1") == []


# -- only on Redis -----------------------------------------------------------------------------------------------------


async def test_an_old_execution_is_forgotten_in_redis(link: RedisLink, keys: Keys) -> None:
    history = RedisHistory(link, keys, HistoryLimits(execution_ttl_s=100))
    await record(history, of("old"))
    key = keys.execution((await history.position()).epoch, "old")
    assert 50_000 < await link.call("PTTL", key) <= life_ms(100)
    # As when that is over.
    await link.call("DEL", key)
    assert await history.executions(["old"]) == [None]
    assert await listed(history, "workflow:w1") == []


async def test_nothing_of_an_execution_stays_for_ever(link: RedisLink, keys: Keys, shared_redis: RedisServer) -> None:
    history = RedisHistory(link, keys, HistoryLimits())
    await record(history, of("x", bot_id="b"))
    epoch = (await history.position()).epoch
    names = [keys.execution(epoch, "x"), *(keys.executions(epoch, topic) for topic in ("all", "workflow:w1", "bot:b"))]
    assert all(0 < shared_redis.command("PTTL", name) <= 86_400_000 * 9 / 8 for name in names)


async def test_executions_that_gave_way_leave_nothing(link: RedisLink, keys: Keys, shared_redis: RedisServer) -> None:
    history = RedisHistory(link, keys, HistoryLimits(executions=3))
    for number in range(10):
        await record(history, of(f"x{number}"))
    epoch = (await history.position()).epoch
    assert len(shared_redis.command("KEYS", keys.execution(epoch, "*"))) == 3


async def test_states_survive_a_restart(keys: Keys) -> None:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        link = RedisLink(server.url)
        history = RedisHistory(link, keys, HistoryLimits())
        written = await record(history, of("x"), of("y"))
        before = await history.snapshot("all", 10)
        server.kill()
        with pytest.raises(Unavailable):
            await history.snapshot("all", 10)
        with pytest.raises(Unavailable):
            await history.executions(["x"])
        server.start()
        assert await history.snapshot("all", 10) == before
        assert await history.executions(["x", "y"]) == list(written.values())
        await link.close()


async def test_a_server_without_memory_refuses_states_and_serves_readers(
    own_redis: RedisServer, own_link: RedisLink, keys: Keys
) -> None:
    history = RedisHistory(own_link, keys, HistoryLimits())
    written = await record(history, of("x"))
    own_redis.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable, match="has no memory left"):
        await record(history, of("x"), of("y"))
    assert list((await history.snapshot("workflow:w1", 10)).executions) == list(written.values())
    assert await history.executions(["x", "y"]) == [written["x"], None]
    own_redis.command("REPLICAOF", "127.0.0.1", "1")
    assert (await history.snapshot("workflow:w1", 10)).offset == 1


async def test_readers_follow_a_new_epoch(own_redis: RedisServer, own_link: RedisLink, keys: Keys) -> None:
    one, other = (RedisHistory(own_link, keys, HistoryLimits()) for _ in range(2))
    await record(one, of("x"), of("y"))
    assert await listed(other) == ["y", "x"]
    own_redis.command("FLUSHALL")
    assert await other.executions(["x"]) == [None]
    written = await record(one, of("x"))
    assert await other.executions(["x", "y"]) == [written["x"], None]
    snapshot = await other.snapshot("all", 10)
    assert (snapshot.epoch, snapshot.number, list(snapshot.executions)) == ((await one.position()).epoch, 1, [written["x"]])
