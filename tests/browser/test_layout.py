"""How the test client looks, and how it is used without a mouse."""

import re
from typing import Final, Literal

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import DESKTOP, PHONE, WANTS_PICTURES, ClientPage, Tabs
from tests.system.event_data import run_of

pytestmark = pytest.mark.asyncio(loop_scope="package")


#: How many runs of the demo there are, how many events a second, and after how many runs one looks. For pictures it goes on for
#: two minutes, so that the charts are full, and one looks while some run.
DEMO: Final = (75, 9, 60) if WANTS_PICTURES else (6, 60, 6)


@pytest.mark.timeout(300 if WANTS_PICTURES else 150)
async def test_it_fits_and_is_legible(deployment: Deployment, tabs: Tabs) -> None:
    """Both schemes, on a desktop and on a phone, with the demo's runs on the page."""
    query = "?workflow=arb_btc_001&bot=bot_001&strategy=arbitrage_v1&all_bots=1&autoconnect=1"
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    page = await tabs.client(deployment.a, query)
    await expect(page.page.locator("[data-testid=subscription][data-state=active]")).to_have_count(4)
    await expect(page.part("actual-transport")).to_have_text("websocket")
    runs, rate, looked_at = DEMO
    demo = deployment.stack.manage("demo", "--seed", "7", "--rate", str(rate), "--runs", str(runs))
    await page.part("type-filter").select_option("execution_completed")
    await expect(page.part("shown")).to_have_text(re.compile(f"^{looked_at} of "), timeout=200_000)
    await page.part("type-filter").select_option("")
    await page.expect_tiles(missed=0, duplicate=0, error=0)
    if not WANTS_PICTURES:
        await expect_all_counted(page)
    for scheme in schemes:
        await page.page.emulate_media(color_scheme=scheme)
        await page.photograph(f"test-client-{scheme}.png", 1280, 1080)
        for tab in ("timeline", "executions"):
            await page.part(f"tab-{tab}").click()
            await expect(page.part("run" if tab == "timeline" else "execution").nth(5)).to_be_visible()
            await page.photograph(f"test-client-{tab}-{scheme}.png", 1280, 860)
        await page.part("tab-events").click()
    assert demo.wait() == 0
    await show_everything(page)
    for scheme in schemes:
        await page.page.emulate_media(color_scheme=scheme)
        for size in (DESKTOP, PHONE):
            await page.page.set_viewport_size(size)
            for tab in ("timeline", "executions", "events"):
                await page.part(f"tab-{tab}").click()
                await page.expect_fit()
                # Names and colours do not depend on the size.
                if size == DESKTOP:
                    await page.assert_accessible()


async def expect_all_counted(page: ClientPage) -> None:
    """Wait until the tile of live events says the same as the subscription to all of them."""
    for _ in range(300):
        live = await page.part("event-count").inner_text()
        if (await page.topic("all_bots").locator(".count").inner_text()).startswith(f"{live} live"):
            return
        await page.page.wait_for_timeout(100)
    pytest.fail("The tile and the subscription count differently.")


async def show_everything(page: ClientPage) -> None:
    """Open what is closed at first: the details of an event, statistics, an error, publishing, the fault lab."""
    for panel in ("publish-panel", "lab"):
        await page.part(panel).locator("summary").click()
    await page.part("event-row").first.click()
    await page.part("request-stats").click()
    await page.request_topic("workflow", "x" * 2_000)
    await page.expect_error("invalid_field")
    await expect(page.part("stats")).to_be_visible()
    await expect(page.part("event-json")).to_be_visible()


#: Modules that another one asked for, and not the page itself.
LATE_MODULES: Final = """
(() => {
  const asked = [...document.querySelectorAll("link[rel=modulepreload], head script[src]")].map(({ href, src }) => href ?? src);
  const came = performance.getEntriesByType("resource").map(({ name }) => name).filter((name) => name.endsWith(".js"));
  return came.filter((name) => !asked.includes(name));
})()
"""


#: What a browser without a cache fetches before the page can be used: how many files, how many bytes, which names.
BEFORE_USE: Final = """
(() => {
  const [ready] = performance.getEntriesByName("interactive");
  const [page] = performance.getEntriesByType("navigation");
  const files = performance.getEntriesByType("resource").filter(({ startTime }) => startTime < ready.startTime);
  const bytes = [page, ...files].reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);
  return { requests: files.length + 1, bytes, names: files.map(({ name }) => name) };
})()
"""

#: Of the development server, which compresses nothing. There is room for some more modules, not for another library.
MOST_REQUESTS: Final = 36
MOST_BYTES: Final = 230_000


async def test_little_is_fetched_before_the_page_can_be_used(deployment: Deployment, tabs: Tabs) -> None:
    page = await tabs.client(deployment.a)
    await expect(page.part("rate-chart").locator("canvas")).to_be_visible()
    fetched = await page.page.evaluate(BEFORE_USE)
    assert 100_000 < fetched["bytes"] <= MOST_BYTES, fetched
    assert 25 < fetched["requests"] <= MOST_REQUESTS, fetched
    assert not [name for name in fetched["names"] if "uplot" in name and name.endswith(".js")]
    # None of the modules waits for another.
    assert await page.page.evaluate(LATE_MODULES) == []


async def test_what_changes_is_announced(deployment: Deployment, tabs: Tabs) -> None:
    page = await tabs.client(deployment.a)
    assert await page.page.locator("html").get_attribute("lang") == "en"
    await expect(page.part("state")).to_have_role("status")
    await expect(page.page.locator("#share-note")).to_have_role("status")
    await page.request_topic("workflow", "")
    await expect(page.page.get_by_role("alert")).to_contain_text("Give the id of the workflow.")


async def test_without_a_mouse(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    page = await tabs.client(deployment.a)
    keyboard = page.page.keyboard

    async def tab_to(testid: str) -> None:
        focused = "document.activeElement.dataset.testid"
        for _ in range(60):
            await keyboard.press("Tab")
            if await page.page.evaluate(focused) == testid:
                return
        pytest.fail(f"Tab does not reach {testid}")

    await keyboard.press("Tab")
    await expect(page.page.get_by_role("link", name="Skip to the events")).to_be_focused()
    await tab_to("connect")
    await keyboard.press("Enter")
    await page.await_session()
    await tab_to("topic-id")
    await keyboard.type("keyboard_wf")
    await keyboard.press("Enter")
    await expect(page.topic("workflow", "keyboard_wf")).to_have_attribute("data-state", "active")
    await publish(run_of(1, "keyboard_wf"))
    await page.expect_shown("1 event")
    await tab_to("tab-events")
    await keyboard.press("ArrowRight")
    await expect(page.part("tab-timeline")).to_be_focused()
    await expect(page.part("run")).to_have_count(1)
    await keyboard.press("ArrowLeft")
    await tab_to("events")
    await keyboard.press("ArrowDown")
    await keyboard.press("Enter")
    await expect(page.part("event-json")).to_contain_text("keyboard_wf")
    await keyboard.press("Escape")
    await expect(page.part("event-json")).to_be_hidden()
    await expect(page.part("events")).to_be_focused()
    await tab_to("unsubscribe")
    await keyboard.press("Enter")
    await expect(page.topic("workflow", "keyboard_wf")).to_have_count(0)
