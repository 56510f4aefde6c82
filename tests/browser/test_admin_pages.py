"""The other pages under Monitoring, on a real deployment."""

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import WANTS_PICTURES, Tabs
from tests.system.clients import PlainClient, until
from tests.system.event_data import event, run_of

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def listener(deployment: Deployment) -> AsyncIterator[PlainClient]:
    """A client of the second server."""
    client = await PlainClient().connect(deployment.b.ws_url)
    yield client
    await client.close()


def step(kind: str, name: str = "", **fields: Any) -> dict[str, Any]:
    node = {"node_id": name.lower().replace(" ", "_"), "node_name": name} if name else {}
    return event(0, "pages_1", "bot_001", type=kind, **node, **fields)


#: A run that has not ended: a node has failed, and one still runs.
TRADE: Final = [
    step("execution_started", node_count=5),
    step("node_started", "Binance Price Feed"),
    step("node_started", "Coinbase Price Feed"),
    step("node_completed", "Binance Price Feed", duration_ms=125),
    step("node_completed", "Coinbase Price Feed", duration_ms=250),
    step("node_started", "Cross-Exchange Spread"),
    step("node_completed", "Cross-Exchange Spread", duration_ms=120),
    step("node_started", "Sell on Binance"),
    step("node_started", "Buy on Coinbase"),
    step("signal_generated", signal="buy"),
    step(
        "node_failed",
        "Buy on Coinbase",
        error="Order was rejected: insufficient balance",
        error_type="OrderError",
        duration_ms=250,
    ),
]


async def some_minutes(deployment: Deployment, publish: Publish) -> None:
    """Clients that come, and events at several rates, for charts that are to be looked at."""
    clients = []
    for rate in (8, 20, 35, 14):
        clients += [await PlainClient().connect(deployment.b.ws_url) for _ in range(rate)]
        for client in clients[-rate:]:
            await client.call("subscribe_workflow", {"workflow_id": "dashboard"})
        await publish(run_of(rate * 30, "dashboard"), per_second=rate)
    for client in clients:
        await client.close()


@pytest.mark.timeout(240 if WANTS_PICTURES else 60)
async def test_the_dashboard_draws_the_last_hour(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    admin = await tabs.admin(deployment.a)
    if WANTS_PICTURES:
        await some_minutes(deployment, publish)
    await publish(run_of(20, "dashboard"))
    await admin.page.clock.install()
    await admin.visit(deployment.a, "dashboard")
    await expect(admin.page.locator(".components .ill")).to_have_count(0)
    await expect(admin.page.get_by_role("region", name="Processes").locator("tbody tr")).to_have_count(3)
    await expect(admin.page.locator(".charts canvas")).to_have_count(6)
    # Samples are taken every ten seconds, of all three processes.
    choice = admin.page.locator("#chart-process")
    await expect(choice.locator("option")).to_have_count(4)
    await expect(admin.page.locator("figcaption").first).to_contain_text("Clients 0")
    await admin.photograph("dashboard.png", 1280, 1000)
    await choice.select_option(index=1)
    await admin.assert_fits()
    await admin.assert_accessible()
    # They ask again by themselves. A process that is gone cannot stay chosen.
    lines = {"at": [1_769_248_800], "lines": {"total": {"clients": [7]}}}
    await admin.page.route("**/lines/", lambda route: route.fulfill(json=lines))
    await admin.page.clock.fast_forward(5_000)
    await expect(admin.page.locator("figcaption").first).to_contain_text("Clients 7")


async def test_topics_executions_and_dead_letters(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    admin = await tabs.admin(deployment.a)
    listener = await tabs.client(deployment.b, "?workflow=pages_1&transport=websocket&autoconnect=1")
    await listener.await_session()
    await publish([*TRADE, {"type": "node_started", "workflow_id": "pages_1"}], per_second=8)

    await admin.visit(deployment.a, "topic")
    row = admin.page.locator('tr[data-key="workflow:pages_1"]')
    await expect(row.locator("td").nth(0)).to_have_text("1")
    await expect(row.locator("td").nth(1)).to_have_text(str(len(TRADE)))
    await admin.assert_fits()
    await admin.assert_accessible()
    await admin.photograph("topics.png", 1280, 480)

    await admin.visit(deployment.a, "execution")
    await admin.page.locator("tbody tr", has_text="pages_1").get_by_role("link").click()
    timeline = admin.page.get_by_role("region", name="Timeline")
    await expect(timeline.locator("svg")).to_have_count(5)
    await expect(timeline.get_by_role("row", name="Buy on Coinbase failed")).to_be_visible()
    await expect(timeline.get_by_role("row", name="Sell on Binance running")).to_be_visible()
    events = admin.page.get_by_role("region", name="Events", exact=True)
    await expect(events.locator("tbody tr").first.locator("td").last).to_have_text(re.compile(r"^#\d+$"))
    await admin.assert_fits()
    await admin.assert_accessible()
    await admin.photograph("execution.png", 1280, 800)

    await admin.visit(deployment.a, "deadletter")
    await admin.page.locator("tbody tr", has_text="pages_1").get_by_role("link").click()
    await expect(admin.page.get_by_role("link", name="Publish again", exact=True)).to_be_visible()
    await admin.assert_fits()
    await admin.assert_accessible()
    await admin.photograph("dead-letter.png", 1280, 720)
    await admin.act("Publish again")
    await expect(admin.page.get_by_text("It would be refused again: execution_id is missing.")).to_be_visible()
    await admin.act("Discard")
    await expect(admin.page.get_by_text("It was discarded.")).to_be_visible()
    await expect(admin.page.locator("tbody tr", has_text="pages_1")).to_have_count(0)


async def test_the_emergency_state_is_set_after_a_question(deployment: Deployment, tabs: Tabs, listener: PlainClient) -> None:
    admin = await tabs.admin(deployment.a)
    await admin.visit(deployment.a, "emergencystate")
    await admin.page.get_by_role("link", name="Set the state").click()
    await admin.page.get_by_label("State").select_option("alert")
    await admin.page.get_by_label("Reason").fill("drill <1>")
    await admin.assert_fits()
    await admin.page.get_by_label("Tell every client").check()
    await admin.confirm("Set the state")
    now = admin.page.locator(".components")
    await expect(now).to_contain_text("alert")
    await expect(now).to_contain_text("set by admin (admin)")
    await until(lambda: listener.all("emergency_state"), "the state told to a client of the other server")
    assert listener.all("emergency_state")[0]["reason"] == "drill <1>"

    await admin.page.get_by_role("link", name="Set the state").click()
    await admin.page.get_by_label("Tell every client").check()
    await admin.confirm("Set the state")
    await expect(now).to_contain_text("normal")
    await expect(admin.page.get_by_role("region", name="States before").locator("tbody tr").first).to_contain_text("drill <1>")
    await admin.assert_fits()
    await admin.photograph("emergency-state.png", 1280, 480)
