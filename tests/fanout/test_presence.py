"""The rows that a process keeps in the registry."""

from collections.abc import Hashable, Mapping
from typing import Any

import orjson
import pytest

from events.clients.memory import MemoryClientRegistry
from events.conf import SessionLimits
from events.fanout import presence as module
from events.fanout.presence import Presence
from events.fanout.session import ClientInfo, Session, Subscription
from events.fanout.wire import Dialect
from events.ports import ClientChanges, Unavailable
from tests.contracts.support import Clock
from tests.fanout.support import RecordingPipe

TTL_S = 6.0


class WatchedRegistry(MemoryClientRegistry):
    """Notes what is written; `away` makes it take the change and lose the answer."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.written: list[ClientChanges] = []
        self.away = False

    async def put_clients(self, process: str, changes: ClientChanges, ttl_s: float) -> int:
        self.written.append(changes)
        kept = await super().put_clients(process, changes, ttl_s)
        if self.away:
            raise Unavailable("away")
        return kept

    def rows_written(self) -> list[str]:
        """The sids of the rows that were written since the last call."""
        sids = [sid for changes in self.written for sid in changes.rows]
        self.written.clear()
        return sids


class World:
    def __init__(self, clients: int) -> None:
        self.clock = Clock(100.0)
        self.registry = WatchedRegistry(self.clock)
        self.sessions: dict[str, Session] = {}
        for number in range(clients):
            self.connect(f"s{number}")
        self.presence = Presence(self.registry, "p1", self.sessions)

    def connect(self, sid: str) -> None:
        self.sessions[sid] = Session(sid, Dialect.PLAIN, RecordingPipe(), SessionLimits(), ClientInfo(), lambda reason: None)

    async def update(self) -> list[str]:
        await self.presence.update(TTL_S)
        return self.registry.rows_written()

    async def shown(self) -> Mapping[str, Any]:
        return {sid: orjson.loads(row) for sid, row in (await self.registry.clients("p1")).items()}

    async def assert_right(self) -> None:
        assert await self.shown() == {sid: session.row() | {"process": "p1"} for sid, session in self.sessions.items()}


async def test_only_what_changed_is_written() -> None:
    world = World(3)
    assert await world.update() == ["s0", "s1", "s2"]
    assert await world.update() == []
    world.sessions["s1"].sent = 7
    del world.sessions["s0"]
    world.connect("s3")
    assert await world.update() == ["s1", "s3"]
    await world.assert_right()


@pytest.mark.parametrize("change", ["topics", "lagging", "authenticated", "transport", "backlog"])
async def test_each_kind_of_change_is_seen(change: str) -> None:
    world = World(1)
    session = world.sessions["s0"]
    session.topics["bot:1"] = Subscription(0)
    await world.update()
    match change:
        case "topics":
            session.topics = {"bot:2": Subscription(0)}
        case "lagging":
            session.cursor = 5
        case "authenticated":
            session.authenticated = True
        case "transport":
            session.transport = "websocket" if session.transport != "websocket" else "polling"
        case _:
            assert isinstance(session.pipe, RecordingPipe)
            session.pipe.pending = 99
    assert await world.update() == ["s0"]
    await world.assert_right()


async def test_with_many_changes_clients_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_CLIENTS", 2)
    monkeypatch.setattr(module, "ROWS_PER_UPDATE", 4)
    world = World(10)
    seen: list[str] = []
    for turn in range(1, 6):
        for session in world.sessions.values():
            session.transport = f"t{turn}"
        seen += await world.update()
    assert sorted(seen) == sorted(sid for sid in world.sessions for _ in range(2))


async def test_where_all_get_events_they_take_turns_and_other_changes_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRAFFIC_ROWS", 4)
    world = World(10)
    await world.update()
    seen: list[str] = []
    for turn in range(1, 6):
        for session in world.sessions.values():
            session.sent = turn
        world.sessions["s9"].authenticated = bool(turn % 2)
        written = await world.update()
        assert "s9" in written
        assert len(written) <= 5
        seen += [sid for sid in written if sid != "s9"]
    assert {seen.count(sid) for sid in world.sessions if sid != "s9"} == {2, 3}


async def test_when_nothing_else_changed_those_who_are_left_out_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_CLIENTS", 2)
    monkeypatch.setattr(module, "TRAFFIC_ROWS", 4)
    world = World(10)
    await world.update()
    looked_at: list[str] = []
    standing = Session.standing

    def look(session: Session) -> Hashable:
        looked_at.append(session.sid)
        return standing(session)

    monkeypatch.setattr(Session, "standing", look)
    seen: list[str] = []
    for turn in range(1, 6):
        for session in world.sessions.values():
            session.sent = turn
        await world.presence.update(TTL_S, changed=False)
        seen += world.registry.rows_written()
    assert {seen.count(sid) for sid in world.sessions} == {2}
    assert len(looked_at) == 5 * 6


async def test_of_many_that_get_nothing_some_are_looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_CLIENTS", 2)
    monkeypatch.setattr(module, "TRAFFIC_LOOKS", 4)
    world = World(10)
    await world.update()
    world.sessions["s9"].sent = 1
    written = []
    for _ in range(3):
        await world.presence.update(TTL_S, changed=False)
        written.append(world.registry.rows_written())
    assert written == [[], [], ["s9"]]


async def test_those_whom_an_update_did_not_come_to_are_looked_at_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_CLIENTS", 2)
    monkeypatch.setattr(module, "ROWS_PER_UPDATE", 4)
    monkeypatch.setattr(module, "TRAFFIC_ROWS", 0)
    world = World(10)
    for _ in range(3):
        await world.update()
    for session in world.sessions.values():
        session.sent += 1
        session.authenticated = True
    await world.update()
    for _ in range(2):
        await world.presence.update(TTL_S, changed=False)
    await world.assert_right()


async def test_a_registry_that_forgot_gets_everything_again() -> None:
    world = World(3)
    await world.update()
    world.clock.now += TTL_S
    await world.update()
    assert await world.update() == ["s0", "s1", "s2"]
    await world.assert_right()


async def test_after_an_answer_that_was_lost_everything_is_told_again() -> None:
    world = World(2)
    await world.update()
    world.registry.away = True
    world.connect("s2")
    del world.sessions["s0"]
    with pytest.raises(Unavailable):
        await world.update()
    world.registry.away = False
    del world.sessions["s2"]
    await world.update()
    await world.assert_right()


async def test_ten_thousand_clients_are_told_in_steps() -> None:
    world = World(10_000)
    for _ in range(4):
        await world.presence.update(TTL_S)
        assert max(len(changes.rows) for changes in world.registry.written) <= module.STEP_CLIENTS
        world.registry.written.clear()
    await world.assert_right()
    assert await world.update() == []
    assert {sid: orjson.loads(row) for sid, row in (await world.presence.rows()).items()} == await world.shown()
