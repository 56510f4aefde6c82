"""What a server process remembers of tokens."""

import asyncio
from collections.abc import Iterator
from threading import Event

import pytest

from events.access import authority as module
from events.access import store
from events.access.authority import Authority
from events.access.refusal import Reason, TokenRefused
from events.conf import EventsConfig
from events.domain.grants import Grant
from events.ports import Unavailable


@pytest.fixture
def slow_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks for tokens as soon as the test is over."""
    over = Event()

    def find(_text: str) -> Grant:
        over.wait()
        raise TokenRefused

    monkeypatch.setattr(store, "find", find)
    yield
    over.set()


@pytest.mark.django_db(transaction=True)
async def test_tokens_in_use_do_not_wait_behind_those_that_are_tried(
    slow_database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    authority = Authority(EventsConfig())
    guesses = [asyncio.create_task(authority.identify(f"wst_{'0' * 16}_{'A' * 42}{number}")) for number in range(4)]
    try:
        with pytest.raises(Unavailable):
            await guesses[-1]
        token, _ = await asyncio.to_thread(store.create, "board", ["workflow:arb_*"])
        await asyncio.to_thread(store.revoke, token.pk)
        assert await authority.current([token.pk]) == {token.pk: Reason.REVOKED}
    finally:
        for guess in guesses:
            guess.cancel()
        await asyncio.gather(*guesses, return_exceptions=True)
        authority.close()


@pytest.mark.django_db(transaction=True)
async def test_what_was_found_revoked_is_not_let_in_by_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_S", 1_000.0)
    authority = Authority(EventsConfig())
    try:
        token, text = await asyncio.to_thread(store.create, "board", ["workflow:arb_*"])
        assert (await authority.identify(text)).token_id == token.pk
        await asyncio.to_thread(store.revoke, token.pk)
        assert (await authority.current([token.pk]))[token.pk] is Reason.REVOKED
        with pytest.raises(TokenRefused) as refused:
            await authority.identify(text)
        assert refused.value.reason is Reason.REVOKED
    finally:
        authority.close()
