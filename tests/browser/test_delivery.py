"""Events of another process on real pages: each once, in order, whenever and wherever one subscribes."""

import asyncio

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import LOST_SERVER, ClientPage, Tabs
from tests.system.event_data import assert_contiguous, numbers, run_of

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def assert_all_once(page: ClientPage, count: int, kind: str) -> None:
    """The list has the events 0 to `count`-1, in order and once, and the page knows of no loss."""
    shown = await page.expect_events(count)
    assert numbers(shown) == list(range(count))
    assert_contiguous(shown, kind)
    await page.expect_tiles(missed=0, duplicate=0, error=0)


async def test_before_during_and_after_a_run_on_two_servers(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    run = run_of(30, "path_wf", bot="path_bot", strategy="path_strategy")
    early, during = await tabs.client(deployment.a), await tabs.client(deployment.b)
    await early.connect()
    await early.subscribe("workflow", "path_wf")
    await early.subscribe("bot", "path_bot")
    await during.connect()

    await publish(run[:10], "stream")
    await early.expect_tiles(event=10, replay=0)
    await during.subscribe("workflow", "path_wf")
    await during.expect_tiles(event=0, replay=10)
    await during.expect_note("Replayed 10 for workflow:path_wf")
    await publish(run[10:20], "channel")
    await during.expect_tiles(event=10, replay=10)
    await publish(run[20:], "stream")

    for page, live, topic in ((early, "30 live", "bot"), (during, "20 live, 10 replayed", "workflow")):
        await page.expect_topic(live, topic, f"path_{'wf' if topic == 'workflow' else 'bot'}")
        await assert_all_once(page, 30, topic)
    await early.expect_topic("30 live", "workflow", "path_wf")
    await early.expect_tiles(event=30, replay=0)

    after = await tabs.client(deployment.a)
    await after.connect()
    await after.subscribe("strategy", "path_strategy")
    await after.expect_topic("0 live, 30 replayed", "strategy", "path_strategy")
    await after.subscribe("workflow", "path_wf")
    await after.expect_note("Replayed 30 for workflow:path_wf, 30 of them known already.")
    await assert_all_once(after, 30, "strategy")


async def test_only_what_one_subscribed_to(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    page = await tabs.client(deployment.b)
    await page.connect("websocket")
    await page.subscribe("bot", "mine_bot")
    await page.subscribe("strategy", "mine_strategy")
    await publish(
        [
            *run_of(4, "mine_1", bot="mine_bot"),
            *run_of(3, "mine_2", bot="other_bot", strategy="mine_strategy"),
            *run_of(2, "mine_3", bot="other_bot", strategy="other_strategy"),
            *run_of(1, "mine_4", bot="mine_bot", strategy="mine_strategy"),
        ]
    )
    await page.expect_topic("5 live", "bot", "mine_bot")
    await page.expect_topic("4 live", "strategy", "mine_strategy")
    shown = await page.expect_events(8)
    assert {event["workflow_id"] for event in shown} == {"mine_1", "mine_2", "mine_4"}

    await page.unsubscribe("strategy", "mine_strategy")
    await publish([*run_of(3, "mine_2", strategy="mine_strategy"), *run_of(1, "mine_1", bot="mine_bot", start=9)])
    await page.expect_topic("6 live", "bot", "mine_bot")
    await page.expect_tiles(event=9, missed=0, duplicate=0)


@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
async def test_each_transport(deployment: Deployment, tabs: Tabs, publish: Publish, transport: str) -> None:
    page = await tabs.client(deployment.a)
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    page.page.on("websocket", lambda socket: asked.append(socket.url))
    await page.connect(transport)
    await page.subscribe("workflow", f"by_{transport}")
    final = "polling" if transport == "polling" else "websocket"
    await expect(page.part("actual-transport")).to_have_text(final)
    await publish(run_of(5, f"by_{transport}"))
    await assert_all_once(page, 5, "workflow")

    used = {kind for kind in ("polling", "websocket") if any(f"transport={kind}" in url for url in asked)}
    assert used == {"auto": {"polling", "websocket"}}.get(transport, {transport})
    upgrade = [url for url in asked if "transport=websocket" in url and "sid=" in url]
    assert bool(upgrade) == (transport == "auto")


async def test_a_killed_server_costs_nothing(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    """More events come while it is away than a new subscription would have replayed: the page goes on from its place."""
    server = deployment.stack.serve()
    page = await tabs.client(server)
    page.tolerated = LOST_SERVER
    run = run_of(290, "kill_wf", bot="kill_bot")
    await page.connect()
    await page.subscribe("workflow", "kill_wf")
    await page.subscribe("bot", "kill_bot")
    await page.subscribe("strategy", "kill_quiet")
    await publish(run[:20])
    await page.expect_tiles(event=20)
    first_sid = await page.part("sid").text_content()

    server.kill()
    await expect(page.part("state")).to_have_text("reconnecting")
    await expect(page.topic("workflow", "kill_wf").locator(".count")).to_have_text("waiting")
    await publish(run[20:190])
    deployment.stack.serve(port=server.port, wait=False)
    going_on = asyncio.create_task(publish(run[190:], per_second=25))
    await page.await_session()
    await going_on

    assert await page.part("sid").text_content() != first_sid
    for kind, topic in (("workflow", "kill_wf"), ("bot", "kill_bot"), ("strategy", "kill_quiet")):
        await expect(page.topic(kind, topic).locator(".count")).to_contain_text("resumed")
    await expect(page.part("resume")).to_have_text("strategy:kill_quiet after #0: complete")
    await expect(page.part("reconnects")).to_have_text("1")
    await page.expect_complete("#1–#290 complete", "workflow", "kill_wf")
    shown = await page.expect_events(290)
    assert numbers(shown) == list(range(290))
    assert_contiguous(shown, "workflow")
    await page.expect_tiles(missed=0, duplicate=0)


#: Notes how long clicks wait until the page gets to them, in ms.
CLICK_DELAYS = """
window.delays = [];
addEventListener("click", (click) => window.delays.push(performance.now() - click.timeStamp), true);
"""


async def test_a_flood_leaves_the_page_responsive(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    page = await tabs.client(deployment.a)
    await page.connect()
    await page.subscribe("workflow", "flood_wf")
    await page.subscribe("all_bots")
    # What other tests published has been replayed.
    await page.part("clear").click()
    await page.page.evaluate(CLICK_DELAYS)
    flood = asyncio.create_task(publish(run_of(3_000, "flood_wf"), per_second=1_000))
    while not flood.done():
        for pressed in ("true", "false"):
            await page.part("pause").click()
            await expect(page.part("pause")).to_have_attribute("aria-pressed", pressed)
    await flood
    await page.expect_topic("3000 live", "workflow", "flood_wf")
    await page.expect_tiles(event=3_000, missed=0, duplicate=0, error=0)
    delays: list[float] = await page.page.evaluate("window.delays")
    assert len(delays) >= 4
    assert max(delays) < 1_000, delays
    await assert_all_once(page, 3_000, "workflow")
    # Only what can be seen is in the page.
    assert await page.part("event-row").count() < 100
