"""What clients may ask for, and what they are told when they ask wrongly."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from events.access.authority import Authority
from events.conf import SessionLimits
from events.domain import errors
from events.fanout.session import Session
from events.fanout.wire import Dialect
from tests.contracts.support import event
from tests.fanout.support import Client, Stage, events, stage

TOKEN = "sésame-0123456789"
KINDS = ("workflow", "bot", "strategy")
COMMANDS = (
    "authenticate",
    "subscribe_workflow",
    "subscribe_bot",
    "subscribe_strategy",
    "subscribe_all_bots",
    "unsubscribe",
    "unsubscribe_workflow",
    "unsubscribe_bot",
    "unsubscribe_strategy",
    "unsubscribe_all_bots",
    "request_stats",
)
SUCCESS = {"authenticate": "auth_response", "request_stats": "stats_update"}


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Stage]:
    async with stage() as running:
        yield running


def guard(world: Stage, **fields: Any) -> None:
    """Change the configuration that the commands go by."""
    world.commands._config = replace(world.config, **fields)
    world.commands._authority = Authority(world.commands._config)


async def error_of(world: Stage, client: Client, name: str, data: Any = None) -> dict[str, Any]:
    """The one error that a command ends in."""
    client.forget()
    answer = await world.commands.handle(client.session, name, data)
    assert [told for told, _ in client.told] == ["error"]
    assert client.told[0][1] == answer
    return answer


# -- greeting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("required", [False, True])
async def test_a_client_is_greeted_as_the_guide_says(world: Stage, required: bool) -> None:
    guard(world, require_auth=required, auth_tokens=(TOKEN,))
    client = Client(SessionLimits())
    await world.commands.connect(client.session, {})
    ((name, data),) = client.told
    assert name == "connected"
    assert list(data) == ["sid", "message", "auth_required", "server_time"]
    assert (data["sid"], data["auth_required"]) == (client.session.sid, required)
    assert data["message"] == "Connected to workflow events"
    assert data["server_time"].endswith("Z")
    assert world.hub.counters.connections == 1


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_every_dialect_gets_the_same_events(world: Stage, dialect: Dialect) -> None:
    client = Client(SessionLimits(), dialect)
    await world.commands.connect(client.session, {})
    await world.subscribe(client)
    await world.flow(event())
    await world.subscribe(client)
    names = [name for name, _ in client.told]
    assert names == ["connected", "subscribed", "workflow_event", "subscribed", "recent_events"]
    assert client.told_of("recent_events")[0]["events"] == client.told_of("workflow_event")


async def test_recent_events_leave_with_the_answer(world: Stage) -> None:
    await world.flow(event())
    client = await world.client()
    first = await world.client()
    await world.subscribe(first)
    client.pipe.pieces.clear()
    await world.subscribe(client)
    assert [name for name, _ in client.told][-2:] == ["subscribed", "recent_events"]
    assert (client.pipe.pieces, client.pipe.held) == ([2], False)


async def test_no_greeting_waits_for_a_token_to_be_checked(world: Stage) -> None:
    guard(world, require_auth=True, auth_tokens=(TOKEN,))
    client = Client(SessionLimits())
    client.pipe.hold()
    await world.commands.connect(client.session, {"token": TOKEN})
    assert [name for name, _ in client.told] == ["connected", "auth_response"]
    assert client.pipe.pieces == [1, 1]


# -- authentication ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("required", "tokens", "payload", "success"),
    [
        (True, (TOKEN,), {"token": TOKEN}, True),
        (True, ("other", TOKEN), {"token": TOKEN}, True),
        (True, (TOKEN,), {"token": TOKEN[:-1]}, False),
        (True, (TOKEN,), {"token": ""}, False),
        (True, (TOKEN,), {}, False),
        (True, (TOKEN,), {"token": None}, False),
        (True, (TOKEN,), {"token": [TOKEN]}, False),
        (True, (TOKEN,), {"token": 5}, False),
        (True, (TOKEN,), {"token": "\ud800"}, False),
        (True, (), {"token": TOKEN}, False),
        (False, (TOKEN,), {"token": TOKEN}, True),
        (False, (TOKEN,), {"token": "wrong"}, False),
        (False, (), {"token": "anything"}, True),
        (False, (), {}, True),
    ],
)
@pytest.mark.parametrize("by_auth_payload", [False, True])
async def test_tokens(
    world: Stage, required: bool, tokens: tuple[str, ...], payload: dict[str, Any], success: bool, by_auth_payload: bool
) -> None:
    guard(world, require_auth=required, auth_tokens=tokens)
    client = Client(SessionLimits())
    await world.commands.connect(client.session, payload if by_auth_payload else {})
    if not by_auth_payload:
        assert await world.commands.handle(client.session, "authenticate", payload) == client.told[-1][1]
    if by_auth_payload and "token" not in payload:
        assert [name for name, _ in client.told] == ["connected"]
        return
    message = "Authentication successful" if success else "Invalid token"
    malformed = bool(tokens) and not (isinstance(payload.get("token"), str) and payload["token"])
    told = {"success": success, "message": message} | ({} if success else {"code": "invalid_token"})
    assert client.told_of("auth_response") == ([] if malformed else [told])
    assert [error["field"] for error in client.told_of("error")] == (["token"] if malformed else [])
    assert client.session.authenticated is success


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("subscribe_workflow", {"topic": "workflow:w1", "needed": "workflow:w1"}),
        ("subscribe_bot", {"topic": "bot:b1", "needed": "bot:b1"}),
        ("subscribe_strategy", {}),
        ("subscribe_all_bots", {"topic": "all", "needed": "all"}),
        ("request_stats", {"needed": "metrics"}),
    ],
)
async def test_a_client_that_must_authenticate_gets_nothing_before(world: Stage, command: str, needed: dict[str, str]) -> None:
    guard(world, require_auth=True, auth_tokens=(TOKEN,))
    client = await world.client()
    data = {"workflow_id": "w1", "bot_id": "b1", "strategy_id": ""}
    assert await error_of(world, client, command, data) == {
        "message": "Authentication required",
        "code": "authentication_required",
        **needed,
    }
    assert client.session.topics == {}
    await world.commands.handle(client.session, "authenticate", {"token": "wrong"})
    assert (await error_of(world, client, command, data))["code"] == "authentication_required"
    await world.commands.handle(client.session, "authenticate", {"token": TOKEN})
    client.forget()
    await world.commands.handle(client.session, command, data | {"strategy_id": "s1"})
    assert client.told_of("error") == []


# -- subscribing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelling", ["{}_id", "{}Id"])
async def test_each_kind_in_both_spellings(world: Stage, kind: str, spelling: str) -> None:
    client, field = await world.client(), spelling.format(kind)
    confirmed = {"type": kind, f"{kind}_id": "x1"}
    identifiers = {"bot": {"bot_id": "x1"}, "strategy": {"strategy_id": "x1"}, "workflow": {}}[kind]
    workflow = "x1" if kind == "workflow" else "w"
    assert await world.commands.handle(client.session, f"subscribe_{kind}", {field: "x1"}) == confirmed
    await world.flow(event(workflow, **identifiers))
    assert await world.commands.handle(client.session, f"unsubscribe_{kind}", {field: "x1"}) == confirmed
    await world.flow(event(workflow, **identifiers))
    assert [name for name, _ in client.told] == ["subscribed", "workflow_event", "unsubscribed"]
    assert (client.told[0][1], client.told[2][1]) == (confirmed, confirmed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spelling", ["{}_id", "{}Id"])
async def test_the_guides_unsubscribe_names_the_kind(world: Stage, kind: str, spelling: str) -> None:
    client, field = await world.client(), spelling.format(kind)
    await world.commands.handle(client.session, f"subscribe_{kind}", {field: "x1"})
    answer = await world.commands.handle(client.session, "unsubscribe", {"type": kind, field: "x1"})
    assert answer == client.told_of("unsubscribed")[0] == {"type": kind, f"{kind}_id": "x1"}
    assert client.session.topics == {}


@pytest.mark.parametrize("unsubscribe", [("unsubscribe_all_bots", None), ("unsubscribe", {"type": "all_bots"})])
async def test_everything(world: Stage, unsubscribe: tuple[str, Any]) -> None:
    client = await world.client()
    assert await world.commands.handle(client.session, "subscribe_all_bots") == {"type": "all_bots"}
    await world.flow(*events(2, "w1"), *events(2, "w2"))
    assert client.live == [1, 2, 3, 4]
    assert await world.commands.handle(client.session, *unsubscribe) == {"type": "all_bots"}
    await world.flow(event())
    assert client.live == [1, 2, 3, 4]


async def test_unsubscribing_from_what_one_has_not_is_confirmed(world: Stage) -> None:
    client = await world.client()
    await world.commands.handle(client.session, "unsubscribe_workflow", {"workflow_id": "never"})
    assert client.told == [("unsubscribed", {"type": "workflow", "workflow_id": "never"})]


async def test_ids_that_look_like_other_topics_are_kept_apart(world: Stage) -> None:
    client = await world.client()
    for name in ("all", "bot:b1", "w:1", " w1 ", "é☃"):
        await world.subscribe(client, name)
    await world.flow(event("w1", bot_id="b1"), event("w"), event("w:1"), event("é☃"))
    assert client.live == [3, 4]
    assert [data["workflow_id"] for data in client.told_of("subscribed")] == ["all", "bot:b1", "w:1", " w1 ", "é☃"]


async def test_stats(world: Stage) -> None:
    client = await world.client()
    assert await world.commands.handle(client.session, "request_stats") == world.stats
    assert client.told == [("stats_update", world.stats)]
    world.stats_available = False
    assert (await error_of(world, client, "request_stats"))["code"] == "history_unavailable"


# -- errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [None, "text", 7, 1.5, True, [], ["workflow_id"], [{"workflow_id": "w1"}]])
@pytest.mark.parametrize("command", ["authenticate", "subscribe_workflow", "unsubscribe", "unsubscribe_bot"])
async def test_a_payload_must_be_an_object(world: Stage, command: str, payload: Any) -> None:
    field = {"authenticate": "token", "unsubscribe": "type"}.get(command, f"{command.partition('_')[2]}_id")
    answer = await error_of(world, await world.client(), command, payload)
    message = f"The payload must be a JSON object with the field {field}."
    assert answer == {"message": message, "code": "invalid_payload", "field": field}


async def test_a_later_wrong_token_takes_nothing_away(world: Stage) -> None:
    guard(world, require_auth=True, auth_tokens=(TOKEN,))
    client = await world.client()
    await world.commands.handle(client.session, "authenticate", {"token": TOKEN})
    assert (await world.commands.handle(client.session, "authenticate", {"token": "wrong"}))["success"] is False
    await world.subscribe(client)
    assert client.told_of("error") == []


async def test_the_spelling_that_has_a_value_counts(world: Stage) -> None:
    client = await world.client()
    both = {"workflow_id": None, "workflowId": "w1"}
    assert await world.commands.handle(client.session, "subscribe_workflow", both) == {"type": "workflow", "workflow_id": "w1"}


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (None, "missing_field", "{} is missing."),
        ("", "invalid_field", "{} must not be empty."),
        (" \t\n", "invalid_field", "{} must not be empty."),
        (5, "invalid_field", "{} must be a string."),
        (["w1"], "invalid_field", "{} must be a string."),
        ({}, "invalid_field", "{} must be a string."),
        (False, "invalid_field", "{} must be a string."),
        ("x" * 257, "invalid_field", "{} has 257 characters; at most 256 are taken."),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["subscribe", "unsubscribe"])
async def test_an_id_that_is_none_is_refused_by_name(
    world: Stage, verb: str, kind: str, value: Any, code: str, message: str
) -> None:
    field = f"{kind}_id"
    client = await world.client()
    answer = await error_of(world, client, f"{verb}_{kind}", {field: value})
    assert answer == {"message": message.format(field), "code": code, "field": field}
    assert client.session.topics == {}


async def test_the_longest_id_is_taken(world: Stage) -> None:
    client = await world.client()
    await world.subscribe(client, "x" * 256)
    assert [name for name, _ in client.told] == ["subscribed"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({}, "missing_field"),
        ({"type": None}, "missing_field"),
        ({"type": "all"}, "invalid_field"),
        ({"type": ["workflow"]}, "invalid_field"),
        ({"type": {}}, "invalid_field"),
        ({"type": "Workflow", "workflow_id": "w"}, "invalid_field"),
    ],
)
async def test_the_type_to_unsubscribe_from_is_checked(world: Stage, payload: Any, code: str) -> None:
    answer = await error_of(world, await world.client(), "unsubscribe", payload)
    assert (answer["code"], answer["field"]) == (code, "type")
    assert "workflow, bot, strategy, all_bots" in answer["message"]


@pytest.mark.parametrize("name", ["", "no_such_command", "_subscribe", "SUBSCRIBE_WORKFLOW", "x" * 10_000, "\ud800"])
async def test_an_unknown_command_is_told_which_there_are(world: Stage, name: str) -> None:
    answer = await error_of(world, await world.client(), name, {})
    assert answer["code"] == "unknown_command"
    assert all(known in answer["message"] for known in COMMANDS)
    assert len(answer["message"]) < 600


async def test_a_client_may_have_so_many_subscriptions(world: Stage) -> None:
    client = await world.client(subscriptions=2)
    await world.subscribe(client, "w1")
    await world.subscribe(client, "w2")
    answer = await error_of(world, client, "subscribe_workflow", {"workflow_id": "w3"})
    assert answer["code"] == "too_many_subscriptions"
    assert "WS_MAX_SUBSCRIPTIONS" in answer["message"]
    await world.subscribe(client, "w1")
    await world.commands.handle(client.session, "unsubscribe_workflow", {"workflow_id": "w1"})
    await world.subscribe(client, "w3")
    assert sorted(client.session.topics) == ["workflow:w2", "workflow:w3"]


async def test_the_filters_of_a_client_may_have_so_many_types_in_all(world: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("events.subscribe.MAX_ALL_TYPES", 5)
    client = await world.client()

    async def follow(workflow: str, *types: str) -> Any:
        data = {"workflow_id": workflow, "types": list(types)}
        return (await world.commands.handle(client.session, "subscribe_workflow", data)).get("code")

    assert await follow("w1", "a", "b", "c") is None
    assert await follow("w2", "d", "e", "f") == "invalid_field"
    assert client.told_of("error")[-1]["field"] == "types"
    assert sorted(client.session.topics) == ["workflow:w1"]
    # One that is replaced does not count, and neither does a subscription without.
    assert await follow("w1", "a", "b") is None
    assert await follow("w2", "d", "e", "f") is None
    await world.subscribe(client, "w3")


async def test_a_failure_of_the_server_is_told_without_its_reason(world: Stage) -> None:
    async def broken() -> dict[str, Any]:
        raise ZeroDivisionError("secret")

    world.commands._stats = broken
    answer = await error_of(world, await world.client(), "request_stats")
    assert answer["code"] == "internal_error"
    assert "secret" not in answer["message"]
    assert world.hub.counters.errors == 1


# -- whatever clients send -----------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
field_names = st.sampled_from(
    ["workflow_id", "botId", "bot_id", "strategyId", "type", "token", "epoch", "offset", "types", "resume", "snapshot"]
)
likely_values = st.sampled_from(["w1", "workflow", "all_bots", 0, 3, None, ["node_started"]]) | json_values
payloads = json_values | st.dictionaries(field_names, likely_values, max_size=5)
commands = st.tuples(st.sampled_from(COMMANDS) | st.text(max_size=12), payloads)

CODES = {kind.code for kind in errors.ALL_KINDS} - {errors.INTERNAL_ERROR.code, errors.HISTORY_UNAVAILABLE.code}


def success_of(command: str) -> str:
    return SUCCESS.get(command, "unsubscribed" if command.startswith("unsubscribe") else "subscribed")


@settings(max_examples=80, deadline=None)
@given(st.lists(commands, min_size=1, max_size=12))
def test_every_command_is_answered_once_and_concerns_nobody_else(sent: list[tuple[str, Any]]) -> None:
    asyncio.run(send_all(sent))


async def send_all(sent: list[tuple[str, Any]]) -> None:
    async with stage() as world:
        await world.flow(*events(3), *events(2, "w2", bot_id="w1"))
        client, other = await world.client(), await world.client()
        await world.subscribe(other, "w1")
        before = snapshot(other)
        for command, payload in sent:
            client.forget()
            answer = await world.commands.handle(client.session, command, payload)
            replies = [(name, data) for name, data in client.told if name not in ("recent_events", "events_missed")]
            assert len(replies) == 1
            name, data = replies[0]
            assert data == answer
            if name == "error":
                assert data["code"] in CODES
                assert data["message"]
            else:
                assert name == success_of(command)
        assert snapshot(other) == before
        assert client.closed_with == ""
        await world.commands.disconnect(client.session, "gone")
        assert list(world.hub._topics) == ["workflow:w1"]


def snapshot(client: Client) -> tuple[dict[str, Any], int, bool]:
    session: Session = client.session
    return dict(session.topics), len(client.pipe.messages), session.authenticated
