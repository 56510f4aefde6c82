"""The admin's dead letters."""

import json
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from events.conf import EventsConfig
from events.ports import DeadLetter
from events.redis_link import RedisLink
from events.wiring import Adapters
from tests.contracts.support import write
from tests.monitoring.conftest import Elsewhere

PAGE = "/admin/monitoring/deadletter/"

EVENT = {"type": "signal", "execution_id": "x", "workflow_id": "w1", "timestamp": "2026-01-24T10:00:00Z", "text": "é" * 3_000}


def refuse(elsewhere: Elsewhere, *documents: bytes, **fields: Any) -> list[str]:
    """Ids of dead letters with these documents, in their order."""
    found: list[str] = []

    async def act(adapters: Adapters) -> None:
        letters = [
            DeadLetter("stream", "event", "The event is <wrong>.", text, 1_769_248_800.0, fields.get("size", len(text)))
            for text in documents
        ]
        await write(adapters.history, rejected=letters)
        found.extend(letter.letter_id for letter in await adapters.history.rejected(len(letters)))

    elsewhere(act)
    return found[::-1]


def on_the_bus(elsewhere: Elsewhere, config: EventsConfig) -> list[Any]:
    published: list[Any] = []

    async def act(adapters: Adapters) -> None:
        link = adapters.link
        assert isinstance(link, RedisLink)
        entries = await link.call("XRANGE", config.bus_name, "-", "+")
        published.extend(json.loads(fields[b"event"]) for _, fields in entries)

    elsewhere(act)
    return published


def kept(elsewhere: Elsewhere) -> int:
    counts: list[int] = []

    async def act(adapters: Adapters) -> None:
        counts.append((await adapters.history.fill())["dead_letters"].waiting)

    elsewhere(act)
    return counts[0]


def test_what_was_refused_is_listed_and_shown_safely(operator: Client, elsewhere: Elsewhere) -> None:
    (letter,) = refuse(elsewhere, b"<script>alert(1)</script>\xff")
    for address in (PAGE, f"{PAGE}?fragment=1", f"{PAGE}{letter}/change/"):
        page = operator.get(address).content.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\ufffd" in page
        assert "The event is &lt;wrong&gt;." in page
        assert "<script>alert" not in page


def test_pages(operator: Client, elsewhere: Elsewhere) -> None:
    letters = refuse(elsewhere, *(b"document %03d" % number for number in range(60)))
    first = operator.get(PAGE).content.decode()
    assert first.count("data-key") == 50
    assert f"?before={letters[10]}" in first
    last = operator.get(f"{PAGE}?before={letters[10]}").content.decode()
    assert [f"document {number:03}" in last for number in (0, 9, 10)] == [True, True, False]
    assert "Older" not in last


def test_publishing_again(operator: Client, elsewhere: Elsewhere, on_redis: EventsConfig) -> None:
    (letter,) = refuse(elsewhere, json.dumps(EVENT).encode())
    assert "Publish this document again" in operator.get(f"{PAGE}{letter}/republish/").content.decode()
    assert on_the_bus(elsewhere, on_redis) == []
    answer = operator.post(f"{PAGE}{letter}/republish/", follow=True)
    assert "It was published again." in answer.content.decode()
    assert on_the_bus(elsewhere, on_redis) == [EVENT]
    assert kept(elsewhere) == 0
    [entry] = LogEntry.objects.all()
    assert (entry.object_id, entry.change_message) == (letter, "Publish again. It was published again.")


@pytest.mark.parametrize(
    ("document", "size", "reason"),
    [
        (b"not json", 8, "It would be refused again: The event is not valid JSON"),
        (json.dumps(EVENT).encode(), 10_000_000, "too large to be kept whole"),
    ],
)
def test_what_cannot_be_published_stays(
    operator: Client, elsewhere: Elsewhere, on_redis: EventsConfig, document: bytes, size: int, reason: str
) -> None:
    (letter,) = refuse(elsewhere, document, size=size)
    answer = operator.post(f"{PAGE}{letter}/republish/", follow=True)
    assert reason in answer.content.decode()
    assert on_the_bus(elsewhere, on_redis) == []
    assert kept(elsewhere) == 1


def test_discarding(operator: Client, elsewhere: Elsewhere) -> None:
    one, two = refuse(elsewhere, b"1", b"2")
    assert "It was discarded." in operator.post(f"{PAGE}{one}/discard/", follow=True).content.decode()
    assert kept(elsewhere) == 1
    answer = operator.post(f"{PAGE}{one}/discard/", follow=True)
    assert "not kept any more" in answer.content.decode()
    assert [entry.object_id for entry in LogEntry.objects.all()] == [one, one]
    assert operator.get(f"{PAGE}{two}/change/").status_code == 200


@pytest.mark.usefixtures("db")
def test_who_may(client: Client, elsewhere: Elsewhere) -> None:
    (letter,) = refuse(elsewhere, b"1")
    user = User.objects.create_user("clerk", is_staff=True)
    client.force_login(user)
    pages, actions = (PAGE, f"{PAGE}{letter}/change/"), ("republish", "discard")
    assert {client.get(page).status_code for page in pages} == {403}
    user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    assert {client.get(page).status_code for page in pages} == {200}
    assert {client.post(f"{PAGE}{letter}/{name}/").status_code for name in actions} == {403}
    assert "Discard" not in client.get(pages[1]).content.decode()
    user.user_permissions.add(Permission.objects.get(codename="discard_deadletter"))
    assert client.post(f"{PAGE}{letter}/republish/").status_code == 403
    assert client.post(f"{PAGE}{letter}/discard/").status_code == 302
    assert kept(elsewhere) == 0


def test_without_redis_the_page_says_so(operator: Client, redis_is_gone: EventsConfig) -> None:
    assert "The dead letters cannot be read now: Redis at" in operator.get(PAGE).content.decode()
