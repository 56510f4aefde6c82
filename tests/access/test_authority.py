"""What a server process remembers of tokens."""

import asyncio

import pytest

from events.access import authority as module
from events.access import store
from events.access.authority import Authority
from events.access.refusal import Reason, TokenRefused
from events.conf import EventsConfig


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
