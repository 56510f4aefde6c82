"""The admin's live clients, against real test clients on two servers."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import ClientPage, Tabs
from tests.system.event_data import run_of

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def sid_of(page: ClientPage) -> str:
    return await page.part("sid").text_content() or ""


async def test_clients_of_both_servers_come_and_go(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    admin = await tabs.admin(deployment.a)
    first = await tabs.client(deployment.a, "?workflow=live_1&transport=websocket&autoconnect=1")
    second = await tabs.client(deployment.b, "?bot=live_2&transport=polling&autoconnect=1")
    for page in (first, second):
        await page.await_session()
    rows = [admin.row(await sid_of(page)) for page in (first, second)]
    for row, transport, topic in zip(rows, ("websocket", "polling"), ("workflow:live_1", "bot:live_2"), strict=True):
        await expect(row.locator(".field-transport")).to_have_text(transport)
        await expect(row.locator(".field-subscriptions")).to_contain_text(topic)
        await expect(row.locator(".field-address")).to_have_text("127.0.0.1")
        await expect(row.locator(".field-agent")).to_contain_text("Chrome")
    processes = {await row.locator(".field-process").text_content() for row in rows}
    assert len(processes) == 2
    await publish([*run_of(12, "live_1"), *run_of(7, "live_3", bot="live_2")])
    for row, sent in zip(rows, ("12", "7"), strict=True):
        await expect(row.locator(".field-sent")).to_have_text(sent)
    await admin.assert_fits()
    await admin.assert_accessible()
    # Without the list of pages beside it, the whole table fits.
    await admin.page.get_by_role("button", name="Toggle navigation").click()
    await admin.photograph("live-clients.png", 1520, 480)

    await admin.search("bot:live_2")
    await expect(admin.rows).to_have_count(1)
    await expect(rows[1]).to_be_visible()
    await second.disconnect()
    await expect(rows[1]).to_have_count(0)
    await expect(admin.page.get_by_text("No live client matches.")).to_be_visible()
