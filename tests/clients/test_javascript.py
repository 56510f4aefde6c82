"""The JavaScript client against real servers."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.clients.javascript import Follower, JavaScript
from tests.redis_server import RedisServer
from tests.system.event_data import assert_contiguous, event, numbers, run_of
from tests.system.stack import Server, Stack, request

#: Seconds within which a process that ends lets its clients go.
DRAIN_S = 1

JSON = {"Content-Type": "application/json"}

#: As an operator does it in the admin, from another process.
SEND_NOTICE = """
import sys
import django
from wsproject.env import use_settings
use_settings("wsproject.settings")
django.setup()
from events.control import send_notice
assert send_notice(sys.argv[1], "Back at 10:00", "warning").outcome == "done"
"""

SECRET = "s" * 32
JOURNAL = 150
FLOOD = 6 * JOURNAL


@pytest.fixture(scope="module")
def javascript() -> Iterator[JavaScript]:
    with JavaScript() as host:
        yield host


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A deployment whose history is short."""
    with RedisServer() as redis, Stack(tmp_path_factory.mktemp("javascript"), redis) as stack:
        assert stack.manage("bootstrap").wait() == 0
        stack.runbus(WS_JOURNAL_MAX_EVENTS=str(JOURNAL))
        yield stack
        # All at once: one after the other takes longer.
        for program in stack.programs:
            program.signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def server(stack: Stack) -> Server:
    return stack.serve()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without Redis that asks for the token `right`, or one that is signed, and believes whom tests say they are."""
    folder = tmp_path_factory.mktemp("guarded")
    proxy = {"WS_PROXY_HEADERS": "1", "WS_TRUSTED_PROXIES": "127.0.0.1"}
    with Stack(folder, None, WS_AUTH_TOKEN="right", WS_JWT_SECRET=SECRET, WS_JWT_LEEWAY_S="0", **proxy) as stack:
        assert stack.manage("bootstrap").wait() == 0
        yield stack.serve()


@pytest.fixture
def client(javascript: JavaScript, server: Server) -> Iterator[Follower]:
    client = javascript.connect(server.url)
    client.wait_state(ready=True)
    yield client
    javascript.call(client, "close")


def test_each_event_once_however_many_topics_it_is_in(javascript: JavaScript, client: Follower, server: Server) -> None:
    everything = javascript.subscribe(client, "all")
    everything.wait("live")
    server.publish(*run_of(3, "once_wf", "once_bot"))
    everything.wait("event", 3)
    workflow = javascript.subscribe(client, {"workflow": "once_wf"})
    bot = javascript.subscribe(client, {"bot": "once_bot"})
    for each in (workflow, bot):
        assert each.wait("live")["offset"] == 3
    server.publish(*run_of(4, "once_wf", "once_bot", start=3))
    for each in (workflow, bot):
        assert numbers(each.wait_events(7)) == list(range(7))
        assert len(each.all("replayed")) == 3
    everything.wait("event", 7)
    assert numbers([item for item in client.wait_events(7) if item["workflow_id"] == "once_wf"]) == list(range(7))
    assert client.all("gap", "error") == []

    javascript.end(workflow)
    server.publish(*run_of(2, "once_wf", "once_bot", start=7))
    assert numbers(bot.wait_events(9)) == list(range(9))
    assert len(workflow.wait_events(7)) == 7


def test_followers_of_one_topic_share_it_and_each_has_its_own_replay(
    javascript: JavaScript, client: Follower, server: Server
) -> None:
    kinds = ("a", "b", "a", "b")
    first = javascript.subscribe(client, {"workflow": "share_wf"}, types=["a"])
    first.wait("live")
    server.publish(*(event(number, "share_wf", type=kind) for number, kind in enumerate(kinds)))
    assert numbers(first.wait_events(2)) == [0, 2]
    second = javascript.subscribe(client, {"workflow": "share_wf"})
    second.wait("live")
    assert numbers(second.wait_events(4)) == [0, 1, 2, 3]
    server.publish(*(event(4 + number, "share_wf", type=kind) for number, kind in enumerate(kinds)))
    assert numbers(second.wait_events(8)) == list(range(8))
    assert numbers(first.wait_events(4)) == [0, 2, 4, 6]
    assert first.all("gap") == second.all("gap") == client.all("gap") == []


def test_states_are_those_of_the_server(javascript: JavaScript, client: Follower, server: Server) -> None:
    def step(kind: str, run: str, second: int, **fields: Any) -> dict[str, Any]:
        at = f"2026-01-24T10:00:{second:02}.000Z"
        return event(second, "state_wf", type=kind, execution_id=run, timestamp=at, **fields)

    early = javascript.subscribe(client, {"workflow": "state_wf"})
    early.wait("live")
    server.publish(
        step("execution_started", "early", 0, node_count=2),
        step("node_started", "early", 1, node_id="n", node_name="Price"),
        step("node_failed", "early", 2, node_id="n", error="Timeout", error_type="TimeoutError", duration_ms=1000),
    )
    early.wait("event", 3)
    states = javascript.subscribe(client, {"workflow": "state_wf"}, executions=True)
    states.wait("live")
    server.publish(
        step("execution_started", "late", 3),
        step("execution_completed", "early", 4, status="failed"),
        step("node_started", "late", 5, node_id="m"),
    )
    states.wait("event", 3)
    known = server.json("/api/executions?workflow=state_wf")["executions"]
    assert [execution["execution_id"] for execution in known] == ["late", "early"]
    assert javascript.executions(states) == known[::-1]


def test_a_killed_server_costs_nothing(javascript: JavaScript, stack: Stack) -> None:
    server = stack.serve()
    client = javascript.connect(server.url, transports=["websocket"])
    workflow, bot, quiet = (
        javascript.subscribe(client, to) for to in ({"workflow": "kill_wf"}, {"bot": "kill_bot"}, {"strategy": "kill_quiet"})
    )
    for each in (workflow, bot, quiet):
        each.wait("live")
    run = run_of(150, "kill_wf", "kill_bot")
    stack.add_to_stream(*run[:10])
    workflow.wait_events(10)
    server.kill()
    client.wait_state(status="reconnecting", ready=False, sid=None)
    stack.add_to_stream(*run[10:130])
    again = stack.serve(port=server.port)
    client.wait_state(ready=True, reconnects=1)
    stack.add_to_stream(*run[130:])
    for each, kind in ((workflow, "workflow"), (bot, "bot"), (client, "workflow")):
        came = each.wait_events(150)
        assert numbers(came) == list(range(150))
        assert_contiguous(came, kind)
    assert workflow.all("resumed") == [
        {
            "topic": {"kind": "workflow", "id": "kill_wf", "key": "workflow:kill_wf"},
            "recovered": True,
            "after": workflow.all("resumed")[0]["after"],
        }
    ]
    assert workflow.all("resumed")[0]["after"]["offset"] == 10
    assert quiet.wait("resumed")["recovered"] is True
    assert client.all("gap") == []
    javascript.call(client, "close")
    client.wait_state(status="disconnected")
    assert again.code is None


def test_a_process_that_is_about_to_end_is_left_when_it_says_so_and_costs_nothing(
    javascript: JavaScript, stack: Stack, server: Server
) -> None:
    ending = stack.serve(WS_DRAIN_S=str(DRAIN_S))
    client = javascript.connect(ending.url)
    workflow = javascript.subscribe(client, {"workflow": "drain_wf"})
    workflow.wait("live")
    server.publish(*run_of(3, "drain_wf"))
    workflow.wait_events(3)
    ending.signal(signal.SIGTERM)
    assert 0 < client.wait("draining")["reconnectInMs"] <= 1000 * DRAIN_S
    client.wait_state(status="reconnecting")
    # Attempts that fail meanwhile give other reasons.
    assert "the server process is about to end" in [state["reason"] for state in client.all("state")]
    assert ending.wait() == 0
    server.publish(*run_of(3, "drain_wf", start=3))
    stack.serve(port=ending.port)
    client.wait_state(ready=True)
    server.publish(*run_of(3, "drain_wf", start=6))
    assert numbers(workflow.wait_events(9)) == list(range(9))
    assert workflow.wait("resumed")["recovered"] is True
    assert client.all("gap") == []
    javascript.call(client, "close")


def test_operators_reach_the_application(javascript: JavaScript, client: Follower, stack: Stack, server: Server) -> None:
    """The emergency state, which every client is told of, and a notice to this one."""
    halt = {"state": "halt", "reason": "exchange maintenance"}
    status, _ = request(f"{server.url}/api/emergency", json.dumps(halt).encode(), JSON)
    assert status == 200
    told = client.wait("emergency")
    assert (told["state"], told["reason"]) == ("halt", "exchange maintenance")
    assert told["since"]
    late = javascript.connect(server.url)
    assert late.wait("emergency") == told
    assert request(f"{server.url}/api/emergency", b'{"state": "normal"}', JSON)[0] == 200
    assert client.wait("emergency", 2)["state"] == "normal"

    sid = client.wait_state(ready=True)["sid"]
    assert stack.run("-c", SEND_NOTICE, sid).wait() == 0
    notice = client.wait("notice")
    assert (notice["level"], notice["message"]) == ("warning", "Back at 10:00")
    assert late.all("notice") == []
    javascript.call(late, "close")


def test_what_is_not_kept_any_more_is_named(javascript: JavaScript, client: Follower, server: Server) -> None:
    early = javascript.subscribe(client, {"workflow": "trim_wf"})
    early.wait("live")
    server.publish(*run_of(10, "trim_wf"))
    place = early.wait("event", 10)["event_id"].rpartition("-")[0]
    server.publish(*run_of(FLOOD, "trim_wf", start=10))
    early.wait("event", FLOOD + 10)
    again = javascript.subscribe(client, {"workflow": "trim_wf"}, after={"epoch": place, "offset": 10})
    gap = again.wait("gap")
    assert (gap["from"], gap["reason"]) == (11, "history_trimmed")
    assert again.wait("resumed")["recovered"] is False
    rest = again.wait_events(FLOOD + 10 - gap["to"])
    assert rest[0]["offsets"]["workflow"] == gap["to"] + 1
    assert_contiguous(rest, "workflow")
    assert early.all("gap") == []


def test_a_token_is_renewed(javascript: JavaScript, guarded: Server) -> None:
    client = javascript.connect(guarded.url, tokens=["stale", "right"])
    subscription = javascript.subscribe(client, {"workflow": "token_wf"})
    subscription.wait("live")
    assert [error["code"] for error in client.all("error")] == ["invalid_token"]
    client.wait_state(authenticated=True, authRequired=True)
    javascript.call(client, "stats")
    assert client.wait("stats")["connections"]["current"] == 1

    unknown = javascript.connect(guarded.url)
    assert unknown.wait("error")["code"] == "token_missing"
    javascript.call(unknown, "stats")
    assert unknown.wait("thrown") == "authentication_required"
    javascript.call(unknown, "authenticate", "right")
    unknown.wait_state(ready=True)


def signed(seconds: float) -> str:
    """A token that ends so soon."""
    return jwt.encode({"sub": "js", "scope": "all", "exp": time.time() + seconds}, SECRET, "HS256")


def guess_until_told_to_wait(server: Server, headers: dict[str, str]) -> None:
    while request(f"{server.url}/api/executions", headers={**headers, "Authorization": "Bearer wrong"})[0] != 429:
        continue


def test_where_somebody_guesses_tokens_a_right_one_is_tried_again(javascript: JavaScript, guarded: Server) -> None:
    address, refused, number = {"X-Real-IP": "192.0.2.7"}, list[dict[str, Any]](), 0
    # The waiting time may be over before a client comes. Each has a token of its own: one that was right is always looked at.
    while not refused:
        number += 1
        guess_until_told_to_wait(guarded, address)
        client = javascript.connect(guarded.url, token=signed(900 + number), socket={"extraHeaders": address})
        client.wait_state(ready=True, authenticated=True)
        refused = client.all("error")
    assert [failure["code"] for failure in refused] == ["too_many_attempts"]
    assert refused[0]["retry_after"] >= 1


def test_a_token_that_ends_is_renewed_in_time_or_later_without_a_loss(javascript: JavaScript, guarded: Server) -> None:
    renewing = javascript.connect(guarded.url, tokens=[signed(8), signed(900)])
    ended = javascript.connect(guarded.url, token=signed(8))
    first, second = (javascript.subscribe(each, {"workflow": "jwt_wf"}) for each in (renewing, ended))
    for each in (first, second):
        each.wait("live")
    assert ended.wait("error")["code"] == "token_expired"
    ended.wait_state(ready=False, status="connected")
    guarded.publish(*run_of(3, "jwt_wf"), token="right")
    assert numbers(first.wait_events(3)) == [0, 1, 2]
    javascript.call(ended, "authenticate", signed(900))
    assert numbers(second.wait_events(3)) == [0, 1, 2]
    second.wait("live", 2)
    assert first.all("refused", "gap") == second.all("refused", "gap") == renewing.all("error") == []
    assert len(first.all("live")) == 1
    for client in (renewing, ended):
        javascript.call(client, "close")
        client.wait_state(status="disconnected")


def test_a_refusal_ends_a_subscription_and_nothing_else(javascript: JavaScript, client: Follower, server: Server) -> None:
    good = javascript.subscribe(client, {"workflow": "good_wf"})
    bad = javascript.subscribe(client, {"workflow": "x" * 2_000})
    assert bad.wait("refused") | {"message": ""} == {
        "code": "invalid_field",
        "field": "workflow_id",
        "message": "",
        "topic": {"kind": "workflow", "id": "x" * 2_000, "key": f"workflow:{'x' * 2_000}"},
    }
    server.publish(*run_of(1, "good_wf"))
    good.wait("event")
    assert len(client.all("error")) == 1


def test_what_the_server_ends_is_closed_and_can_be_opened_again(
    javascript: JavaScript, client: Follower, server: Server
) -> None:
    ended = javascript.subscribe(client, {"workflow": "ended_wf"})
    ended.wait("live")
    javascript.emit(client, "unsubscribe", {"type": "workflow", "workflow_id": "ended_wf"})
    assert ended.wait("refused")["code"] == "unsubscribed"
    again = javascript.subscribe(client, {"workflow": "ended_wf"})
    javascript.end(again)
    again = javascript.subscribe(client, {"workflow": "ended_wf"})
    again.wait("live")
    server.publish(*run_of(2, "ended_wf"))
    assert numbers(again.wait_events(2)) == [0, 1]
    assert again.all("refused") == ended.all("event") == []


def test_late_events_are_told(javascript: JavaScript, client: Follower, server: Server) -> None:
    subscription = javascript.subscribe(client, {"workflow": "late_wf"})
    subscription.wait("live")
    server.publish(event(0, "late_wf", timestamp="2020-01-24T10:00:00.000Z"))
    assert client.wait("lag")["lagging"] is True
    server.publish(event(1, "late_wf", timestamp="2090-01-24T10:00:00.000Z"))
    assert client.wait("lag", 2)["lagging"] is False


def test_a_lost_history_is_named_and_begins_anew(javascript: JavaScript, tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        server = stack.serve()
        client = javascript.connect(server.url)
        lost = javascript.subscribe(client, {"workflow": "lost_wf"}, executions=True)
        lost.wait("live")
        server.publish(*run_of(5, "lost_wf"))
        lost.wait_events(5)
        server.kill()
        server = stack.serve(port=server.port)
        client.wait_state(ready=True, reconnects=1)
        assert lost.wait("gap")["reason"] == "history_lost"
        lost.wait("live", 2)
        server.publish(*run_of(2, "lost_wf", start=5))
        assert numbers(lost.wait_events(7)) == list(range(7))
        (state,) = javascript.executions(lost)
        assert state["events"] == 2
        javascript.call(client, "close")
        client.wait_state(status="disconnected")
