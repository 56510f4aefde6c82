"""Wrong tokens, and tokens with too many connections: over sockets and HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from threading import Semaphore
from typing import Any

import pytest
import pytest_asyncio
from django.test import Client as Browser
from structlog.testing import capture_logs

from events.access.authority import THREADS, Authority
from events.access.refusal import TokenRefused
from events.commands import CommandHandler
from events.conf import AccessLimits, EventsConfig, SessionLimits
from events.domain.grants import Grant
from events.fanout.session import ClientInfo
from tests.fanout.support import Client, Stage, stage

TOKEN = "sesame-0123456789"
WRONG = "invalid_token"
LIMITS = AccessLimits(auth_failures=3, per_token=2)


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Stage]:
    async with stage() as running:
        config = replace(running.config, auth_tokens=(TOKEN, TOKEN + "-2"), require_auth=True, access=LIMITS)

        async def stats() -> dict[str, Any]:
            return {}

        running.commands = CommandHandler(running.hub, config, Authority(config), stats)
        yield running


async def client_at(world: Stage, address: str) -> Client:
    client = Client(SessionLimits())
    client.session.client = ClientInfo(address)
    await world.commands.connect(client.session, {})
    return client


async def authenticate(world: Stage, client: Client, token: str) -> Any:
    answer = await world.commands.handle(client.session, "authenticate", {"token": token})
    return answer.get("code") or answer["success"]


async def test_who_guesses_has_to_wait_and_nobody_else(world: Stage) -> None:
    guesser, neighbour = await client_at(world, "192.0.2.1"), await client_at(world, "192.0.2.2")
    assert [await authenticate(world, guesser, f"guess-{number}") for number in range(4)] == [WRONG] * 4
    assert await authenticate(world, guesser, TOKEN) == "too_many_attempts"
    # A new connection is no new chance.
    assert await authenticate(world, await client_at(world, "192.0.2.1"), TOKEN) == "too_many_attempts"
    assert await authenticate(world, neighbour, TOKEN) is True
    assert world.hub.counters.labelled["refused:attempts"] == 2


async def test_who_has_to_wait_is_told_for_how_long(world: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("events.access.attempts.time.monotonic", lambda: now)
    client = await client_at(world, "192.0.2.1")
    assert [await authenticate(world, client, "guess") for _ in range(3)] == [WRONG] * 3
    for wait_s in (1, 2, 4):
        assert await authenticate(world, client, "guess") == WRONG
        answer = await world.commands.handle(client.session, "authenticate", {"token": TOKEN})
        assert (answer["code"], answer["retry_after"]) == ("too_many_attempts", wait_s)
        now += wait_s


async def test_who_has_a_token_cannot_guess_others_in_between(world: Stage) -> None:
    client = await client_at(world, "192.0.2.1")
    for number in range(4):
        assert await authenticate(world, client, TOKEN) is True
        assert await authenticate(world, client, f"guess-{number}") == WRONG
    assert await authenticate(world, client, TOKEN + "-2") == "too_many_attempts"


async def test_a_token_that_was_right_at_an_address_is_right_while_others_guess_there(world: Stage) -> None:
    office, guesser = await client_at(world, "192.0.2.1"), await client_at(world, "192.0.2.1")
    assert await authenticate(world, office, TOKEN) is True
    assert [await authenticate(world, guesser, f"guess-{number}") for number in range(4)] == [WRONG] * 4
    assert await authenticate(world, guesser, "guess") == "too_many_attempts"
    assert await authenticate(world, await client_at(world, "192.0.2.1"), TOKEN) is True
    # At another address it is as good as any other.
    stranger = await client_at(world, "192.0.2.2")
    assert [await authenticate(world, stranger, f"guess-{number}") for number in range(4)] == [WRONG] * 4
    assert await authenticate(world, stranger, TOKEN) == "too_many_attempts"


async def test_who_guesses_many_at_once_gets_one_looked_at(world: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("events.access.attempts.time.monotonic", lambda: now)
    clients = [await client_at(world, "192.0.2.1") for _ in range(8)]
    for number in range(4):
        assert await authenticate(world, clients[0], f"guess-{number}") == WRONG
    now += 1.0
    guesses = (authenticate(world, client, f"at-once-{number}") for number, client in enumerate(clients))
    assert sorted(await asyncio.gather(*guesses), key=str) == [WRONG, *["too_many_attempts"] * 7]


async def test_of_guesses_that_wait_none_is_looked_at_once_too_many_were_wrong(
    world: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks = time.monotonic(), Semaphore(0)
    looked: list[str] = []
    monkeypatch.setattr("events.access.attempts.time.monotonic", lambda: now)

    def look(token: str, _config: EventsConfig) -> Grant:
        looks.acquire()
        looked.append(token)
        raise TokenRefused

    monkeypatch.setattr("events.access.authority.identify", look)
    clients = [await client_at(world, "192.0.2.1") for _ in range(20)]
    waiting = {asyncio.ensure_future(authenticate(world, client, f"at-once-{number}")) for number, client in enumerate(clients)}
    answers: list[Any] = []
    try:
        for wrong in range(LIMITS.auth_failures + 1):
            looks.release()
            # Those that begin late are refused meanwhile, and are no reason to let another one be looked at.
            while answers.count(WRONG) == wrong:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                answers += [answer.result() for answer in done]
    finally:
        looks.release(len(clients))
    answers += await asyncio.gather(*waiting)
    # Each thread may have begun with one before it could know.
    assert len(looked) <= LIMITS.auth_failures + 1 + THREADS
    assert sorted(answers, key=str) == [WRONG] * len(looked) + ["too_many_attempts"] * (len(clients) - len(looked))


async def test_a_token_has_so_many_connections(world: Stage) -> None:
    first, second, third = [await client_at(world, f"192.0.2.{number}") for number in (1, 2, 3)]
    assert [await authenticate(world, client, TOKEN) for client in (first, second, first)] == [True] * 3
    assert await authenticate(world, third, TOKEN) == "too_many_connections"
    assert not third.session.authenticated
    assert await authenticate(world, third, TOKEN + "-2") is True
    await world.commands.disconnect(first.session, "gone")
    assert await authenticate(world, third, TOKEN) is True
    assert await authenticate(world, second, TOKEN + "-2") is True
    assert world.hub.counters.labelled["refused:connections_per_token"] == 1


async def test_a_client_that_goes_while_its_token_is_checked_holds_nothing(
    world: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = world.commands._authority
    identify, asked, checked = authority.identify, asyncio.Event(), asyncio.Event()

    async def slowly(token: str, check: Callable[[], None]) -> Grant:
        asked.set()
        await checked.wait()
        return await identify(token, check)

    monkeypatch.setattr(authority, "identify", slowly)
    client = await client_at(world, "192.0.2.1")
    with capture_logs() as entries:
        answer = asyncio.create_task(world.commands.handle(client.session, "authenticate", {"token": TOKEN}))
        await asked.wait()
        await world.commands.disconnect(client.session, "gone")
        checked.set()
        assert await answer == {}
    assert [entry["event"] for entry in entries] == ["client_disconnected"]
    assert world.commands._connections.total == 0
    assert world.commands._held == {}
    # As many as the token may have are free.
    others = [await client_at(world, f"192.0.2.{number}") for number in (2, 3)]
    assert [await authenticate(world, other, TOKEN) for other in others] == [True] * 2


def test_http_waits_with_the_sockets(client: Browser, settings: Any) -> None:
    settings.EVENTS = replace(settings.EVENTS, auth_tokens=(TOKEN,), require_auth=True, access=LIMITS)

    def ask(token: str, address: str = "192.0.2.1") -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return client.post("/api/events", b"", "application/json", headers=headers, REMOTE_ADDR=address)

    assert [ask("wrong").status_code for _ in range(4)] == [401] * 4
    refused = ask(TOKEN)
    assert refused.status_code == 429
    wait = refused.headers["Retry-After"]
    assert refused.json()["message"].endswith(f"(WS_MAX_AUTH_FAILURES): try again in {wait} s.")
    assert ask(TOKEN, "192.0.2.2").status_code == 415
