"""Health tells the truth: each way in which events stop flowing shows with its reason, and goes away with its cause."""

import json
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from events.vital_signs import LAGGING_S, STALLED_S
from tests.redis_server import RedisServer
from tests.system.event_data import event
from tests.system.stack import Program, Server, Stack, await_condition

#: A load balancer is to hear of trouble within so long; a busy test machine gets some more.
NOTICED_S: Final = 15.0


@dataclass
class Deployment:
    """One relay and one server."""

    redis: RedisServer
    relay: Program
    server: Server

    def await_reason(self, reason: str, component: str = "events") -> None:
        """Returns when `/health` and `/health/ready` are unhealthy for this reason, while the process lives."""

        def told() -> bool:
            status, body = self.server.get("/health")
            return status == 503 and reason in json.loads(body)["details"].get(component, "")

        await_condition(told, lambda: f"{reason!r} in {self.server.get('/health')}", NOTICED_S)
        assert self.server.get("/health/live") == (200, b'{"status":"alive"}')
        ready = self.server.json("/health/ready")
        assert ready["status"] == "not ready"
        assert reason in ready["reason"]

    def relay_lag_s(self) -> float:
        """As Prometheus gets it."""
        text = self.server.get("/metrics?format=prometheus")[1].decode()
        return float(re.findall(r"^wsserver_relay_lag_seconds\{.*\} (\S+)$", text, re.MULTILINE)[0])


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Deployment]:
    redis_server.command("ACL", "SETUSER", "relay", "on", ">secret", "~*", "&*", "+@all")
    with Stack(tmp_path_factory.mktemp("health"), redis_server) as stack:
        relay = stack.runbus(REDIS_URL=f"redis://relay:secret@127.0.0.1:{redis_server.port}/0")
        yield Deployment(redis_server, relay, stack.serve())


def test_all_is_well(deployment: Deployment) -> None:
    deployment.server.await_health()
    assert deployment.server.json("/health/ready") == {"status": "ready", "reason": ""}


def test_a_frozen_relay_shows_and_is_forgiven(deployment: Deployment) -> None:
    deployment.relay.signal(signal.SIGSTOP)
    try:
        deployment.await_reason("No relay is running")
    finally:
        deployment.relay.signal(signal.SIGCONT)
    deployment.server.await_health()


def test_a_relay_that_leads_and_does_not_get_on_shows_and_is_forgiven(deployment: Deployment) -> None:
    """It may do everything with Redis but read the bus. So the canary waits there, and the relay is behind by its age."""
    reading = ("xread", "xrange")
    deployment.redis.command("ACL", "SETUSER", "relay", *(f"-{name}" for name in reading))
    deployment.await_reason("Nothing came through the event bus")
    await_condition(lambda: deployment.relay_lag_s() > LAGGING_S, lambda: f"a lag of {deployment.relay_lag_s()} s")
    deployment.redis.command("ACL", "SETUSER", "relay", *(f"+{name}" for name in reading))
    deployment.server.await_health()
    # The relay reports its lag every so often, so that comes a little later.
    await_condition(lambda: deployment.relay_lag_s() < LAGGING_S, lambda: f"a lag of {deployment.relay_lag_s()} s")


def test_canaries_leave_no_trace(deployment: Deployment) -> None:
    deployment.server.await_health()
    before = deployment.server.json("/metrics")["events"]
    assert deployment.server.publish(event(1, "health"))[0] == 202

    def relayed() -> bool:
        return bool(deployment.server.json("/metrics")["events"]["received"] == before["received"] + 1)

    await_condition(relayed, lambda: f"one more event than {before}")
    assert deployment.redis.command("XLEN", "workflow_events") > 1
    assert deployment.server.json("/metrics")["events"]["rejected"] == before["rejected"]


def test_a_server_whose_event_loop_stood_still_says_so(deployment: Deployment) -> None:
    """The last test: it takes ten seconds until that is forgiven."""
    began = time.monotonic()
    deployment.server.signal(signal.SIGSTOP)
    try:
        await_condition(lambda: time.monotonic() - began > STALLED_S + 1, lambda: "the end of the stall")
    finally:
        deployment.server.signal(signal.SIGCONT)
    deployment.await_reason("The event loop of this process stood still", "process")
