"""Subscribing with the Python client: real servers, which are killed, restarted, and lose their history."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.python_client.collector import KINDS, Collector
from tests.redis_server import RedisServer, free_port
from tests.system.event_data import assert_delivered, event, numbers, run_of
from tests.system.stack import Server, Stack, await_condition
from workflow_events import (
    AsyncClient,
    AuthenticationFailed,
    Client,
    Connected,
    ConnectionFailed,
    Disconnected,
    Event,
    Missed,
    Subscribed,
    SubscriptionRefused,
)

TOKEN = "a-token-of-32-characters-or-more"
JWT_SECRET = "s" * 32

#: Seconds until a token ends. A fifth of it is enough to renew it on a busy machine.
TOKEN_S = 8


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A relay on a Redis that keeps what it has."""
    with RedisServer("--appendonly", "yes") as redis, Stack(tmp_path_factory.mktemp("deployment"), redis) as stack:
        stack.runbus()
        yield stack


@pytest.fixture(scope="module")
def server(deployment: Stack) -> Server:
    return deployment.serve()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Stack(tmp_path_factory.mktemp("secured"), WS_AUTH_TOKEN=TOKEN, WS_JWT_SECRET=JWT_SECRET, WS_JWT_LEEWAY_S="0") as stack:
        assert stack.manage("bootstrap").wait() == 0
        yield stack.serve()


# -- nothing is lost, doubled or out of order ----------------------------------------------------------------------------


def test_a_killed_server_costs_no_event(deployment: Stack) -> None:
    """The topics of one subscriber overlap, so that a replay brings what came live, and the other way round."""
    before, while_away, after = (run_of(40, "killed", "bot_killed", start=start) for start in (0, 40, 80))
    server = deployment.serve()
    plain = [Collector(kind, server.url, workflow="killed") for kind in KINDS]
    overlapping = Collector("async", server.url, workflow=["killed", "other"], bot="bot_killed")
    with plain[0], plain[1], overlapping:
        for collector in (*plain, overlapping):
            collector.wait(Subscribed, 3 if collector is overlapping else 1)
        deployment.add_to_stream(*before[:20])
        for collector in (*plain, overlapping):
            collector.wait(Event, 20)
        deployment.add_to_stream(*before[20:])
        server.kill()
        deployment.add_to_stream(*while_away)
        deployment.serve(port=server.port)
        deployment.add_to_stream(*after)
        for collector in (*plain, overlapping):
            collector.wait(Event, 120)
            assert collector.all(Disconnected)
            assert collector.missed == []
            assert_delivered(collector.events, before + while_away + after, "workflow")


def test_a_subscriber_that_takes_its_time_is_waited_for(deployment: Stack, server: Server) -> None:
    """What it does not read stays on the server, more than sockets hold; then it gets all of it."""
    events = [event(number, "slow", text="x" * 40_000) for number in range(400)]

    async def read_slowly() -> list[int]:
        async with AsyncClient(server.url).subscribe(workflow="slow") as subscription:
            got = []
            async for first in subscription:
                got.append(first["number"])
                break
            lagged = server.json("/metrics")["counters"]["lagged"]
            await asyncio.to_thread(deployment.add_to_stream, *events[1:])
            await asyncio.to_thread(
                await_condition, lambda: server.json("/metrics")["counters"]["lagged"] > lagged, lambda: "a client that lags"
            )
            async for following in subscription:
                got.append(following["number"])
                if len(got) == len(events):
                    return got
        raise AssertionError("a subscription does not end")

    deployment.add_to_stream(events[0])
    assert asyncio.run(asyncio.wait_for(read_slowly(), 60)) == list(range(len(events)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_process_goes_on_where_the_old_one_was(deployment: Stack, server: Server, kind: str) -> None:
    workflow = f"continued-{kind}"
    with Collector(kind, server.url, workflow=workflow) as first:
        first.wait(Subscribed)
        deployment.add_to_stream(*run_of(5, workflow))
        first.wait(Event, 5)
    deployment.add_to_stream(*run_of(110, workflow, start=5))
    with Collector(kind, server.url, workflow=workflow, resume=first.position) as second:
        second.wait(Event, 110)
        assert numbers(second.events) == list(range(5, 115))
        assert second.all(Subscribed) == [Subscribed(f"workflow:{workflow}", resumed=True, recovered=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missed_is_told_between_the_events(deployment: Stack, server: Server, kind: str) -> None:
    """The history that the client knew is lost: it hears of it before it gets what there is."""
    deployment.add_to_stream(*run_of(2, f"lost-{kind}"))
    topic = f"workflow:lost-{kind}"
    with Collector(kind, server.url, workflow=f"lost-{kind}", resume={topic: {"epoch": "another", "offset": 7}}) as collector:
        collector.wait(Event, 2)
        assert [type(item) for item in collector.items] == [Connected, Subscribed, Missed, Event, Event]
        (missed,) = collector.missed
        assert (missed.topic, missed.first, missed.count, missed.reason) == (topic, None, None, "history_lost")
        assert collector.position[topic]["offset"] == 2


def test_without_items_what_is_missed_goes_to_the_callback(deployment: Stack, server: Server) -> None:
    told: list[Missed] = []
    deployment.add_to_stream(*run_of(1, "callback"))
    resume = {"workflow:callback": {"epoch": "another", "offset": 7}}
    with Client(server.url, on_missed=told.append).subscribe(workflow="callback", resume=resume) as subscription:
        assert next(subscription)["number"] == 0
    assert [missed.reason for missed in told] == ["history_lost"]


# -- what can be asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_types_and_snapshots(deployment: Stack, server: Server, kind: str) -> None:
    workflow = f"filtered-{kind}"
    deployment.add_to_stream(event(0, workflow, type="execution_started"), event(1, workflow, type="signal_generated"))
    states = f"/api/executions?workflow={workflow}"
    await_condition(
        lambda: [state["events"] for state in server.json(states)["executions"]] == [2], lambda: server.json(states)
    )
    with Collector(kind, server.url, workflow=workflow, types=["signal_generated"], snapshot=True) as collector:
        collector.wait(Event)
        deployment.add_to_stream(event(2, workflow), event(3, workflow, type="signal_generated"))
        collector.wait(Event, 2)
        assert numbers(collector.events) == [1, 3]
        assert [item.replayed for item in collector.all(Event)] == [True, False]
        (snapshot,) = collector.snapshots
        assert [state["status"] for state in snapshot.executions] == ["running"]


def test_everything_and_a_strategy(deployment: Stack, server: Server) -> None:
    with (
        Collector("async", server.url, everything=True) as everything,
        Collector("sync", server.url, strategy="momentum") as strategy,
    ):
        everything.wait(Subscribed)
        strategy.wait(Subscribed)
        deployment.add_to_stream(event(1, "all-1"), event(2, "all-2", strategy="momentum"))
        strategy.wait(Event)
        await_condition(lambda: [item["number"] for item in everything.events][-2:] == [1, 2], lambda: str(everything.events))
        assert numbers(strategy.events) == [2]


# -- refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_asked_for_at_each_connection(secured: Server, kind: str) -> None:
    asked: list[str] = []

    def token() -> str:
        asked.append(TOKEN)
        return TOKEN

    for _ in range(2):
        with Collector(kind, secured.url, {"token": token}, workflow="w") as collector:
            collector.wait(Subscribed)
    assert asked == [TOKEN, TOKEN]


def signed(seconds: float) -> str:
    """A token that ends so soon."""
    return jwt.encode({"sub": "python", "scope": "all", "exp": time.time() + seconds}, JWT_SECRET, "HS256")


class Login:
    """Gives a token that ends soon, and then one that does not."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return signed(TOKEN_S if self.asked == 1 else 900)


def test_a_token_is_renewed_on_the_connection_that_stands(secured: Server) -> None:
    """Another client shows when the first token has ended: it has no other, so that its connection ends with it."""
    logins = {kind: Login() for kind in KINDS}
    topic = {"workflow": "renewed"}
    first, second = (Collector(kind, secured.url, {"token": login}, **topic) for kind, login in logins.items())
    ended = Collector("async", secured.url, {"token": signed(TOKEN_S + 1)}, **topic)
    with first, second, ended:
        for collector in (first, second, ended):
            collector.wait(Subscribed)
        assert isinstance(ended.wait_for_end(), AuthenticationFailed)
        secured.publish(*run_of(3, "renewed"), token=TOKEN)
        for collector in (first, second):
            collector.wait(Event, 3)
            assert [type(item) for item in collector.items] == [Connected, Subscribed, Event, Event, Event]
            assert not any(item.replayed for item in collector.all(Event))
    assert [login.asked for login in logins.values()] == [2, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("token", "reason"), [(None, "give one"), ("wrong", "Invalid token")])
def test_a_wrong_token_is_an_error(secured: Server, kind: str, token: str | None, reason: str) -> None:
    with Collector(kind, secured.url, {"token": token}, workflow="w") as collector:
        error = collector.wait_for_end()
    assert isinstance(error, AuthenticationFailed)
    assert reason in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_subscription_names_the_topic_and_the_code(server: Server, kind: str) -> None:
    with Collector(kind, server.url, workflow="w" * 300) as collector:
        error = collector.wait_for_end()
    assert isinstance(error, SubscriptionRefused)
    assert (error.code, error.topic) == ("invalid_field", f"workflow:{'w' * 300}")


@pytest.mark.parametrize("kind", KINDS)
def test_it_gives_up_when_it_is_told_to(kind: str) -> None:
    with Collector(kind, f"http://127.0.0.1:{free_port()}", {"give_up_s": 0.0}, workflow="w") as collector:
        error = collector.wait_for_end()
    assert isinstance(error, ConnectionFailed)
    assert "nobody answers" in str(error)


def test_another_thread_can_close_a_subscription(server: Server) -> None:
    subscription = Client(server.url).subscribe(workflow="w")
    items = subscription.items()
    assert isinstance(next(items), Connected)
    assert isinstance(next(items), Subscribed)
    threading.Timer(0.05, subscription.close).start()
    assert list(items) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({}, "Nothing to subscribe to"), ({"workflow": ""}, "workflow must be"), ({"bot": ["b", 7]}, "bot must be")],
)
def test_a_subscription_to_nothing_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AsyncClient("http://127.0.0.1:1").subscribe(**arguments)


@pytest.mark.parametrize("url", ["", "localhost:8001", "ftp://localhost", "http://"])
def test_an_address_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match="url must be the server's address"):
        Client(url)
