"""What a subscriber makes of the server's messages; no socket is needed for it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.system.event_data import event
from workflow_events import Event, SubscriptionRefused
from workflow_events.conversation import Conversation, Effect, Leave, Renew, Send, WantToken
from workflow_events.link import Link, Subscriber
from workflow_events.topics import Topic

WORKFLOW = {"type": "workflow", "workflow_id": "w"}
BOT = {"type": "bot", "bot_id": "b"}
GREETING = {"sid": "s", "auth_required": False, "server_time": "2026-01-24T10:00:00.000Z"}
ACCEPTED = {"success": True, "message": "Authentication successful"}
TOO_MANY = {"message": "wait", "code": "too_many_attempts", "retry_after": 7}
NOON = datetime(2026, 1, 24, 12, tzinfo=UTC).timestamp()


def stamped(number: int) -> dict[str, Any]:
    """An event of both topics, at the same offset in each."""
    return event(number, "w", "b", event_id=f"e-{number}", offsets={"all": number, "workflow": number, "bot": number})


def conversation(*topics: Topic) -> Conversation:
    """One that has begun, and been greeted."""
    begun = Conversation(topics or (Topic("workflow", "w"),))
    begun.begin()
    tell(begun, "connected", GREETING)
    return begun


def tell(to: Conversation, name: str, data: dict[str, Any]) -> list[Effect]:
    return list(to.receive(json.dumps({"event": name, "data": data})))


def subscribe(to: Conversation, topic: dict[str, Any], offset: int, *replayed: int) -> list[int]:
    """The server's answer to a subscription, with what it replays. Returns the numbers of the events that are handed out."""
    answer = {**topic, "epoch": "e", "offset": offset, "recovered": True}
    effects = tell(to, "subscribed", answer)
    effects += tell(to, "recent_events", {"events": [stamped(number) for number in replayed], "count": len(replayed)})
    name = f"{topic['type']}:{topic[topic['type'] + '_id']}"
    return handed_out([*effects, *tell(to, "ack", {"id": name, "data": answer})])


def handed_out(effects: list[Effect]) -> list[int]:
    return [item["number"] for item in effects if isinstance(item, Event)]


def test_an_event_that_came_live_for_one_topic_is_known_in_the_replay_of_another() -> None:
    both = conversation(Topic("workflow", "w"), Topic("bot", "b"))
    assert subscribe(both, WORKFLOW, 2, 1, 2) == [1, 2]
    assert handed_out(tell(both, "workflow_event", stamped(3))) == [3]
    # The bot's place has not moved with it: a connection that ends now has not had the bot's older events.
    assert both.position == {"workflow:w": {"epoch": "e", "offset": 3}}
    assert subscribe(both, BOT, 3, 1, 2, 3) == []
    assert handed_out(tell(both, "workflow_event", stamped(4))) == [4]
    assert both.position["bot:b"] == both.position["workflow:w"] == {"epoch": "e", "offset": 4}
    assert both.settled


def test_the_place_moves_with_each_event_and_not_before() -> None:
    one = conversation()
    tell(one, "subscribed", {**WORKFLOW, "epoch": "e", "offset": 3, "recovered": False})
    message = {"event": "recent_events", "data": {"events": [stamped(1), stamped(2)], "count": 2}}
    effects = one.receive(json.dumps(message))
    assert one.position == {}
    next(effects)
    assert one.position["workflow:w"]["offset"] == 1


def test_a_cut_in_the_middle_of_a_replay_resumes_after_what_was_handed_out() -> None:
    one = conversation()
    tell(one, "subscribed", {**WORKFLOW, "epoch": "e", "offset": 9, "recovered": False})
    tell(one, "recent_events", {"events": [stamped(4), stamped(5)], "count": 2})
    one.begin()
    (_, asked) = tell(one, "connected", GREETING)
    assert isinstance(asked, Send)
    assert json.loads(asked.text)["data"] == {"workflow_id": "w", "epoch": "e", "offset": 5}


def test_a_new_epoch_begins_anew() -> None:
    one = conversation()
    subscribe(one, WORKFLOW, 9, 9)
    tell(one, "events_missed", {**WORKFLOW, "from": None, "to": None, "reason": "history_lost", "epoch": "f"})
    again = stamped(1) | {"event_id": "f-1"}
    assert handed_out(tell(one, "workflow_event", again)) == [1]
    assert one.position["workflow:w"] == {"epoch": "f", "offset": 1}


@pytest.mark.parametrize("code", ["token_expired", "token_revoked"])
def test_a_token_that_ended_asks_for_another_connection_at_once(code: str) -> None:
    assert tell(conversation(), "error", {"message": "over", "code": code}) == [Leave("over", at_once=True)]
    assert tell(conversation(), "subscription_revoked", {**WORKFLOW, "code": code}) == []


def guarded(*, renewable: bool = True) -> Conversation:
    """One that has begun at noon by a clock that is two hours ahead of the server's, and was asked for a token."""
    begun = Conversation([Topic("workflow", "w")], renewable=renewable, clock=lambda: NOON)
    begun.begin()
    assert isinstance(tell(begun, "connected", {**GREETING, "auth_required": True})[-1], WantToken)
    return begun


@pytest.mark.parametrize(
    ("expires_at", "in_s"),
    [("2026-01-24T10:01:40.000Z", 80), ("2026-01-24T10:00:00.100Z", 1), ("9999-12-31T23:59:59.000Z", 86_400)],
)
def test_a_token_is_renewed_before_it_ends_by_the_clock_of_the_server(expires_at: str, in_s: float) -> None:
    one = guarded()
    renew, asked = tell(one, "auth_response", {**ACCEPTED, "expires_at": expires_at})
    assert isinstance(renew, Renew)
    assert renew.in_s == pytest.approx(in_s)
    assert isinstance(asked, Send)
    # The answer to the renewal asks for no subscription again.
    assert tell(one, "auth_response", ACCEPTED) == []


def test_a_token_that_is_always_the_same_is_not_renewed() -> None:
    (asked,) = tell(guarded(renewable=False), "auth_response", {**ACCEPTED, "expires_at": "2026-01-24T10:01:40.000Z"})
    assert isinstance(asked, Send)


def test_a_renewal_that_fails_is_repeated_and_ends_nothing() -> None:
    one = guarded()
    unavailable = {"message": "later", "code": "authentication_unavailable"}
    assert tell(one, "error", unavailable) == [Renew(1.0, "later")]
    tell(one, "auth_response", ACCEPTED)
    assert tell(one, "auth_response", {"success": False, "message": "Invalid token"}) == [Renew(1.0, "Invalid token")]
    assert tell(one, "error", TOO_MANY) == [Renew(7, "wait")]


def test_who_is_told_when_to_try_a_token_again_comes_back_then() -> None:
    one = guarded()
    (leave,) = tell(one, "error", TOO_MANY)
    assert isinstance(leave, Leave)
    lost = Subscriber(Link("ws://x", 1, None, None), one).lost(leave)
    assert 7 <= lost.retry_in_s <= 7.5
    # Servers of before do not say when.
    assert tell(one, "error", {"message": "wait", "code": "too_many_attempts"}) == [Leave("wait")]


def test_without_another_token_for_now_the_connection_goes_on() -> None:
    subscriber = Subscriber(Link("ws://x", 1, None, None), guarded())

    def soon() -> float | None:
        return subscriber.renewal_in_s

    assert soon() is None
    subscriber.renew(Renew(-1.0))
    assert soon() == 0
    subscriber.renewing()
    assert soon() is None
    subscriber.renewal_failed(ConnectionRefusedError("the login is away"))
    assert soon() == pytest.approx(1, abs=0.5)
    subscriber.begin()
    assert soon() is None


def test_a_server_that_goes_away_is_left_when_it_says_so_and_come_back_from_at_once() -> None:
    one = conversation()
    subscriber = Subscriber(Link("ws://x", 1, None, None), one)
    assert tell(one, "server_draining", {"message": "soon", "reconnect_in_ms": 4200, "window_ms": 20000}) == []
    assert subscriber.lost(Leave("closed")).retry_in_s == 0
    one.begin()
    assert not one.sent_away


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("unsubscribed", {"reason": "operator"}, "operator"),
        ("subscription_revoked", {"code": "insufficient_scope"}, "insufficient_scope"),
    ],
)
def test_a_subscription_that_is_taken_away_is_an_error(name: str, data: dict[str, str], code: str) -> None:
    with pytest.raises(SubscriptionRefused) as caught:
        tell(conversation(), name, {**WORKFLOW, **data})
    assert (caught.value.code, caught.value.topic) == (code, "workflow:w")


def test_messages_from_the_future_are_passed_over() -> None:
    assert tell(conversation(), "brand_new", {"what": "ever"}) == []
