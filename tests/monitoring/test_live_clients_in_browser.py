"""The live-clients page in a real Chromium: it follows what happens without being loaded again."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from django.conf import settings
from django.test import Client
from playwright.async_api import Browser, Page, ViewportSize, expect

from events.conf import EventsConfig
from events.wiring import build_adapters
from tests.chromium import chromium
from tests.monitoring.conftest import TTL_S
from tests.monitoring.rows import row, told
from tests.redis_server import RedisServer

# One browser for all tests here, so they share its loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE: ViewportSize = {"width": 360, "height": 740}


@pytest.fixture
def address(live_server: Any, on_redis: EventsConfig) -> str:
    return f"{live_server.url}/admin/monitoring/liveclient/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, live_server: Any, operator: Client) -> AsyncIterator[Page]:
    """A dark phone, signed in."""
    cookie = operator.cookies[settings.SESSION_COOKIE_NAME].value
    context = await browser.new_context(viewport=PHONE, color_scheme="dark")
    await context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    yield await context.new_page()
    await context.close()


async def tell(config: EventsConfig, *clients: Any) -> None:
    """A server process reports these clients."""
    adapters = build_adapters(config)
    await told("web-1", *clients).to(adapters.registry, TTL_S)
    await adapters.close()


async def test_the_table_follows(page: Page, address: str, on_redis: EventsConfig) -> None:
    await tell(on_redis, row("first", "web-1", sent=1))
    await page.goto(f"{address}?o=sid&q=192.0.2")
    rows = page.locator("[data-live=rows] tr")
    await expect(rows).to_have_count(1)
    await rows.nth(0).evaluate("row => row.dataset.kept = 'yes'")

    await tell(on_redis, row("first", "web-1", sent=1500), row("second", "web-1"), row("x", "web-1", address="198.51.100.1"))
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("1,500")
    await expect(rows.nth(0)).to_have_attribute("data-kept", "yes")
    await expect(page.locator("[data-live=state]")).to_contain_text("2 of 3 live clients on 1 server process")

    await tell(on_redis, row("second", "web-1"))
    await expect(rows).to_have_count(1)
    await expect(rows.nth(0)).to_contain_text("second")
    assert page.url == f"{address}?o=sid&q=192.0.2"


async def test_a_failure_is_shown_and_passes(
    page: Page, address: str, on_redis: EventsConfig, redis_server: RedisServer
) -> None:
    await tell(on_redis, row("first", "web-1"))
    await page.goto(address)
    message = page.locator("[data-live=message]")
    await expect(message).to_be_hidden()
    redis_server.stop()
    try:
        await expect(message).to_contain_text("The live clients cannot be read now", timeout=15_000)
        await expect(page.locator("[data-key=first]")).to_be_visible()
    finally:
        redis_server.start()
    await expect(message).to_be_hidden(timeout=15_000)
    await expect(page.locator("[data-live=rows]")).to_contain_text("No client is connected.")


async def test_signed_out_is_said(page: Page, address: str) -> None:
    await page.goto(address)
    await page.context.clear_cookies()
    await expect(page.locator("[data-live=message]")).to_contain_text("You are signed out")


async def test_it_fits_a_phone(page: Page, address: str, on_redis: EventsConfig) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    await tell(on_redis, row("first", "web-1", user_agent="x" * 300, topics=["workflow:" + "y" * 200]))
    await page.goto(address)
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert problems == []


async def test_a_hidden_page_asks_for_nothing(page: Page, address: str) -> None:
    await page.clock.install()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "fragment" in request.url else None)
    await page.goto(address)
    await page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    await page.clock.run_for(20_000)
    assert asked == []
    await page.evaluate("Object.defineProperty(document, 'hidden', { value: false, configurable: true })")
    async with page.expect_request("**fragment=1"):
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
