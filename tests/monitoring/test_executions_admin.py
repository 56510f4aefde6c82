"""The admin's executions."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from events.conf import EventsConfig
from events.domain.event import EventLimits, parse_event
from events.domain.snapshot import fold_all
from events.ports import Append
from events.wiring import Adapters
from monitoring.gantt import WIDTH, bars, rows
from tests.monitoring.conftest import Elsewhere

PAGE = "/admin/monitoring/execution/"


def stamp(seconds_ago: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds_ago, UTC).isoformat()


def event(execution_id: str, kind: str, seconds_ago: float, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "execution_id": execution_id, "workflow_id": "w1", "timestamp": stamp(seconds_ago), **fields}


def run(execution_id: str, seconds_ago: float = 100.0, *, ends: bool = True) -> list[dict[str, Any]]:
    """An execution with one node that takes a second."""
    node = {"node_id": "fetch", "node_name": "Fetch <prices>"}
    begun = [
        event(execution_id, "execution_started", seconds_ago, node_count=2, sequence=1),
        event(execution_id, "node_started", seconds_ago - 1, **node, sequence=2),
    ]
    ended = [
        event(execution_id, "node_completed", seconds_ago - 2, **node, duration_ms=1_000, sequence=4),
        event(execution_id, "execution_completed", seconds_ago - 3, status="completed", sequence=5),
    ]
    return begun + (ended if ends else [])


def relay(elsewhere: Elsewhere, *bodies: dict[str, Any]) -> None:
    """What the relay writes of these events."""

    async def act(adapters: Adapters) -> None:
        position = await adapters.history.position()
        events = [parse_event(json.dumps(body).encode(), EventLimits()) for body in bodies]
        ids = {body["execution_id"] for body in bodies}
        numbered = list(enumerate(bodies, position.number + 1))
        states = [fold_all(None, [(body, number) for number, body in numbered if body["execution_id"] == name]) for name in ids]
        await adapters.history.append(Append(1, position, "stream", "", events, executions=states))

    elsewhere(act)


@pytest.fixture
def three(elsewhere: Elsewhere) -> None:
    """One in order but for a number, one silent, one that ended without a start."""
    relay(elsewhere, *run("whole"), *run("silent", ends=False), event("odd", "execution_completed", 1.0, status="failed"))


@pytest.mark.usefixtures("three")
def test_the_list_and_its_flags(operator: Client) -> None:
    page = operator.get(PAGE).content.decode()
    assert "3 of the 3 executions" in page
    assert "its nodes usually take up to 1.0 s." in page
    assert "It ended, and nothing told that it had started." in page
    assert "1 of 2" in page
    assert page.count("Numbers are missing at the source: 3.") == 1
    for query, found in (("?show=flagged", {"whole", "silent", "odd"}), ("?show=running", {"silent"}), ("?q=FAILED", {"odd"})):
        shown = operator.get(f"{PAGE}{query}&fragment=1").content.decode()
        assert {name for name in ("whole", "silent", "odd") if f'data-key="{name}"' in shown} == found


@pytest.mark.usefixtures("three")
def test_one_execution(operator: Client) -> None:
    page = operator.get(f"{PAGE}whole/change/").content.decode()
    assert "Numbers are missing at the source: 3." in page
    assert "Fetch &lt;prices&gt;" in page
    assert page.count("<rect") == 1
    assert page.count('<tr><td class="nowrap">') == 4
    assert "<script>" not in page
    assert " style=" not in page
    silent = operator.get(f"{PAGE}silent/change/?fragment=1").content.decode()
    assert "Silent for" in silent
    answer = operator.get(f"{PAGE}never/change/", follow=True)
    assert "This execution is not known" in answer.content.decode()


def test_what_nodes_take_is_known_although_no_execution_shows_it(operator: Client, elsewhere: Elsewhere) -> None:
    relay(elsewhere, *run("silent", ends=False))
    assert "Silent for" not in operator.get(PAGE).content.decode()
    elsewhere(lambda adapters: adapters.state.keep_durations({"w1": {"fetch": [1.5, 2.5, 2.5]}}))
    for address in (PAGE, f"{PAGE}silent/change/"):
        assert "its nodes usually take up to 2.5 s." in operator.get(address).content.decode()


def test_bars_lie_where_nodes_ran() -> None:
    bodies = [
        event("x", "execution_started", 10),
        event("x", "node_started", 10, node_id="a"),
        event("x", "node_completed", 5, node_id="a"),
        event("x", "node_started", 5, node_id="b"),
        event("x", "node_completed", 2.5, node_id="c", duration_ms=2_500),
        event("x", "execution_completed", 0),
    ]
    state = fold_all(None, [(body, number) for number, body in enumerate(bodies, 1)])
    found = {bar.node.node_id: (bar.left, bar.width) for bar in bars(state, time.time())}
    assert found["a"] == pytest.approx((0, WIDTH / 2), abs=2)
    # It never ended, so it ended with its execution.
    assert found["b"] == pytest.approx((WIDTH / 2, WIDTH / 2), abs=2)
    assert found["c"] == pytest.approx((WIDTH / 2, WIDTH / 4), abs=2)
    assert max((bar.left or 0) + bar.width for bar in bars(state, time.time())) <= WIDTH + 1


def test_times_that_nobody_can_read_do_no_harm() -> None:
    state = fold_all(None, [({"type": "node_started", "execution_id": "x", "workflow_id": "w", "node_id": "n"}, 1)])
    assert [(bar.left, bar.seconds) for bar in bars(state, 0.0)] == [(None, None)]
    assert rows([state], [], {}, 0.0)[0].seconds is None


@pytest.mark.usefixtures("three", "db")
def test_who_may_see_it(client: Client) -> None:
    user = User.objects.create_user("clerk", is_staff=True)
    client.force_login(user)
    pages = (PAGE, f"{PAGE}whole/change/", "/admin/monitoring/topic/")
    assert {client.get(page).status_code for page in pages} == {403}
    for name in ("view_execution", "view_topic"):
        user.user_permissions.add(Permission.objects.get(codename=name))
    assert {client.get(page).status_code for page in pages} == {200}


@pytest.mark.usefixtures("three")
def test_topics_that_had_events_lately(operator: Client) -> None:
    page = operator.get("/admin/monitoring/topic/").content.decode()
    assert 'data-key="all"' in page
    assert 'data-key="workflow:w1"' in page
    assert "execution_completed" in page
    assert 'data-key="all"' not in operator.get("/admin/monitoring/topic/?q=W1&fragment=1").content.decode()


def test_without_redis_the_pages_say_so(operator: Client, redis_is_gone: EventsConfig) -> None:
    assert "The executions cannot be read now: Redis at" in operator.get(PAGE).content.decode()
    assert "The topics cannot be read now: Redis at" in operator.get("/admin/monitoring/topic/").content.decode()
