"""Grants of live clients: they end, change and are renewed, and no event is lost to a client that may have it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from events.access.authority import CACHE_S, Authority
from events.access.refusal import Reason, TokenRefused
from events.access.watch import INTERVAL_S, GrantWatch
from events.domain.grants import Grant
from events.ports import Unavailable
from events.supervisor import Supervisor
from tests.contracts.support import event
from tests.fanout.support import Client, Stage, events, offsets, stage, turns, until

DAY = Grant.of("day", "day", ["workflow:*"])


class Tokens:
    """An authority whose tokens a test decides on."""

    def __init__(self) -> None:
        self.grants: dict[str, Grant | Reason] = {}
        self.down = False
        self.hangs = False
        self.asked: list[Sequence[str]] = []
        self.ends: dict[str, float] = {}
        self.forgotten = 0

    async def identify(self, token: str, check: Callable[[], None]) -> Grant:
        found = self.grants.get(token, Reason.INVALID)
        if self.down:
            raise Unavailable("the database is down")
        if isinstance(found, Reason):
            raise TokenRefused(found)
        return found

    async def note_ends(self, ends: Mapping[str, float]) -> None:
        self.ends |= ends

    async def forget_ended(self) -> None:
        self.forgotten += 1
        if self.down:
            raise Unavailable("the database is down")

    async def current(self, ids: Sequence[str]) -> Mapping[str, Grant | Reason]:
        self.asked.append(ids)
        await turns()
        if self.hangs:
            await asyncio.Event().wait()
        if self.down:
            raise Unavailable("the database is down")
        return {name: grant for name, grant in self.grants.items() if name in ids}


class World:
    def __init__(self, running: Stage) -> None:
        self.stage = running
        self.tokens = Tokens()
        authority = cast(Authority, self.tokens)
        running.commands._config = replace(running.config, require_auth=True)
        running.commands._authority = authority
        self.watch = GrantWatch(running.commands.granted, authority, running.commands)

    async def client(self, token: str, grant: Grant = DAY) -> Client:
        self.tokens.grants[token] = replace(grant, token_id=token)
        client = await self.stage.client()
        await self.authenticate(client, token)
        client.forget()
        return client

    async def authenticate(self, client: Client, token: str) -> dict[str, Any]:
        return await self.stage.commands.handle(client.session, "authenticate", {"token": token})


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with stage() as running:
        yield World(running)


def test_the_times_add_up_to_the_promise() -> None:
    """Within 2 s: as long as a grant is remembered, as long as a look is away, and half a second for the look."""
    assert CACHE_S + INTERVAL_S + 0.5 <= 2.0


@pytest.mark.parametrize(("reason", "code"), [(Reason.REVOKED, "token_revoked"), (Reason.EXPIRED, "token_expired")])
async def test_a_token_that_ends_takes_its_subscriptions_along(world: World, reason: Reason, code: str) -> None:
    client, other = await world.client("one"), await world.client("two")
    for each in (client, other):
        await world.stage.subscribe(each, "w1")
        await world.stage.subscribe(each, "w2")
        each.forget()
    world.tokens.grants["one"] = reason
    await world.watch.check()
    assert [name for name, _ in client.told] == ["error", "subscription_revoked", "subscription_revoked"]
    assert client.told_of("error")[0]["code"] == code
    assert client.told_of("subscription_revoked")[0] == {"type": "workflow", "workflow_id": "w1", "code": code}
    await world.stage.flow(event("w1"))
    assert (client.live, other.live, client.closed_with) == ([], [1], "")
    assert (client.session.authenticated, client.session.row()["token_id"]) == (False, "")
    # It may come back without a new connection.
    assert (await world.authenticate(client, "two"))["success"]
    await world.stage.subscribe(client, "w1")
    await world.stage.flow(event("w1"))
    assert client.live == [2]


async def test_a_token_ends_by_time_while_the_database_is_away(world: World) -> None:
    client = await world.client("one", replace(DAY, expires_at=time.time() + 3_600))
    lasting = await world.client("two")
    world.tokens.down = True
    client.session.grant = replace(client.session.grant or DAY, expires_at=time.time() - 1)
    with pytest.raises(Unavailable):
        await world.watch.check()
    world.watch.end_expired(time.time())
    assert client.told_of("error")[0]["code"] == "token_expired"
    assert lasting.told == []


async def test_the_end_of_a_revoked_token_is_noted(world: World) -> None:
    end = time.time() + 3_600
    await world.client("one", replace(DAY, expires_at=end))
    await world.client("two", replace(DAY, expires_at=end))
    world.tokens.grants["one"] = Reason.REVOKED
    await world.watch.check()
    assert world.tokens.ends == {"one": end}


async def test_a_token_ends_in_time_while_the_database_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.access.watch.INTERVAL_S", 0.01)
    client = await world.client("one", replace(DAY, expires_at=time.time() + 3_600))
    world.tokens.hangs = True
    tasks = Supervisor()
    world.watch.start(tasks)
    await until(lambda: len(world.tokens.asked) == 1)
    client.session.grant = replace(client.session.grant or DAY, expires_at=time.time() - 1)
    await until(lambda: client.told_of("error") != [])
    assert client.told_of("error")[0]["code"] == "token_expired"
    assert len(world.tokens.asked) == 1
    await tasks.stop()


async def test_what_has_ended_is_forgotten_again_and_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.access.watch.FORGET_INTERVAL_S", 0.01)
    tasks = Supervisor()
    world.tokens.down = True
    with capture_logs() as entries:
        world.watch.start(tasks)
        await until(lambda: world.tokens.forgotten >= 2)
        world.tokens.down = False
        await until(lambda: world.tokens.forgotten >= 4)
    assert {entry["event"] for entry in entries} == {"ended_not_forgotten"}
    await tasks.stop()


async def test_a_changed_token_changes_its_clients(world: World) -> None:
    client = await world.client("one")
    await world.stage.subscribe(client, "w1")
    await world.stage.subscribe(client, "w2")
    client.forget()
    world.tokens.grants["one"] = Grant.of("one", "day", ["workflow:w2"])
    await world.watch.check()
    body = {"type": "workflow", "workflow_id": "w1", "code": "insufficient_scope"}
    assert client.told == [("subscription_revoked", body)]
    await world.stage.flow(event("w1"), event("w2"))
    assert client.live == [2]


async def test_tokens_of_the_configuration_are_not_asked_for(world: World) -> None:
    await world.client("shared-1")
    await world.watch.check()
    assert world.tokens.asked == []


async def test_a_client_that_renews_misses_nothing(world: World) -> None:
    client = await world.client("one", replace(DAY, expires_at=time.time() + 60))
    await world.stage.subscribe(client, "w1")
    await world.stage.subscribe(client, "other")
    for number in range(30):
        await world.stage.flow(*events(3))
        if number % 10 == 5:
            grant = Grant.of(f"new-{number}", "n", ["workflow:w1"], time.time() + 60)
            world.tokens.grants[grant.token_id] = grant
            answer = await world.authenticate(client, grant.token_id)
            assert answer["success"]
            assert answer["expires_at"].endswith("Z")
            world.tokens.grants["one"] = Reason.REVOKED
            await world.watch.check()
    assert offsets(client) == list(range(1, 91))
    ended = {"type": "workflow", "workflow_id": "other", "code": "insufficient_scope"}
    assert client.told_of("subscription_revoked") == [ended]
    assert client.told_of("error") == []


async def test_a_token_that_is_exchanged_while_the_old_one_is_looked_up_stays(world: World) -> None:
    client = await world.client("one")
    world.tokens.grants |= {"one": Reason.REVOKED, "two": replace(DAY, token_id="two")}
    authenticate, check = world.authenticate(client, "two"), world.watch.check()
    await asyncio.gather(check, authenticate)
    assert client.told_of("error") == []
    assert client.session.grant is not None


@pytest.mark.parametrize("call", ["recent", "since"])
async def test_a_subscription_under_way_does_not_outlive_its_token(world: World, call: str) -> None:
    """The history answers after the token was revoked: nothing may be joined then."""
    client = await world.client("one")
    await world.stage.publish(*events(150))
    await world.stage.settled()
    world.stage.history.keep_back(call)
    data = {"workflow_id": "w1", "epoch": world.stage.hub.position.epoch, "offset": 1}
    under_way = asyncio.ensure_future(world.stage.commands.handle(client.session, "subscribe_workflow", data))
    await until(lambda: call in world.stage.history.asked)
    await turns()
    world.tokens.grants["one"] = Reason.REVOKED
    await world.watch.check()
    world.stage.history.let_go(call)
    await under_way
    client.forget()
    await world.stage.flow(event("w1"))
    assert client.session.topics == {}
    assert client.told == []


async def test_scopes(world: World) -> None:
    client = await world.client("one", Grant.of("one", "n", ["workflow:arb_*"]))
    handle = world.stage.commands.handle
    await handle(client.session, "subscribe_workflow", {"workflow_id": "arb_1"})
    for command, data, needed in [
        ("subscribe_workflow", {"workflow_id": "other"}, "workflow:other"),
        ("subscribe_bot", {"bot_id": "arb_1"}, "bot:arb_1"),
        ("subscribe_all_bots", None, "all"),
        ("request_stats", None, "metrics"),
    ]:
        client.forget()
        answer = await handle(client.session, command, data)
        topic = {} if needed == "metrics" else {"topic": needed}
        message = f"The scope {needed} is needed for that; your token does not have it."
        assert answer == {"message": message, "code": "insufficient_scope", **topic, "needed": needed}
        assert client.told == [("error", answer)]
    assert list(client.session.topics) == ["workflow:arb_1"]


@pytest.mark.parametrize(
    ("reason", "code"),
    [(Reason.INVALID, "invalid_token"), (Reason.EXPIRED, "token_expired"), (Reason.REVOKED, "token_revoked")],
)
async def test_a_token_that_is_refused_says_why(world: World, reason: Reason, code: str) -> None:
    client = await world.client("good")
    world.tokens.grants["bad"] = reason
    assert await world.authenticate(client, "bad") == {"success": False, "message": "Invalid token", "code": code}
    assert client.session.grant is not None


async def test_without_the_database_a_client_is_told_to_try_again(world: World) -> None:
    client = await world.client("good")
    world.tokens.down = True
    with capture_logs() as entries:
        assert (await world.authenticate(client, "good"))["code"] == "authentication_unavailable"
    assert [(entry["event"], entry["sid"]) for entry in entries] == [("authentication_unavailable", client.session.sid)]
    assert client.told_of("error")[0]["code"] == "authentication_unavailable"
