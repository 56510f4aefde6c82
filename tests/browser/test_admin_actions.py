"""An operator on one server acts on a client of another one."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.conftest import Deployment
from tests.browser.pages import LiveClientsPage, Tabs
from tests.system.clients import PlainClient, until
from tests.system.stack import request

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def victim(deployment: Deployment) -> AsyncIterator[PlainClient]:
    """A client of the second server with two subscriptions."""
    client = await PlainClient().connect(deployment.b.ws_url)
    await client.wait("connected")
    await client.call("subscribe_workflow", {"workflow_id": "act_1"})
    await client.call("subscribe_bot", {"bot_id": "act_2", "types": ["node_failed"]})
    yield client
    await client.close()


@pytest_asyncio.fixture(loop_scope="package")
async def admin(deployment: Deployment, tabs: Tabs, victim: PlainClient) -> LiveClientsPage:
    """Looks at that client from the first server."""
    page = await tabs.admin(deployment.a)
    await page.open_client(victim.sid)
    return page


async def test_the_page_of_a_client_follows_what_it_does(admin: LiveClientsPage, victim: PlainClient) -> None:
    subscriptions = admin.page.get_by_role("region", name="Subscriptions")
    for text in ("workflow:act_1", "bot:act_2", "node_failed"):
        await expect(subscriptions).to_contain_text(text)
    await victim.call("subscribe_strategy", {"strategy_id": "act_3"})
    await expect(subscriptions).to_contain_text("strategy:act_3")
    await expect(admin.page.get_by_role("heading", name="3 subscriptions")).to_be_visible()
    await victim.call("nonsense")
    await expect(admin.page.get_by_text("Unknown command 'nonsense'")).to_be_visible()
    commands = admin.page.get_by_role("region", name="Recent commands")
    await expect(commands.locator("tbody tr").nth(1)).to_contain_text("subscribe_strategy")
    await admin.assert_fits()
    await admin.photograph("live-client.png", 1280, 800)


async def test_unsubscribe(admin: LiveClientsPage, victim: PlainClient) -> None:
    await admin.act("Unsubscribe from workflow:act_1", "Unsubscribe")
    await expect(admin.page.get_by_text("Unsubscribed from workflow:act_1.")).to_be_visible()
    subscriptions = admin.page.get_by_role("region", name="Subscriptions")
    await expect(subscriptions).not_to_contain_text("act_1")
    await expect(subscriptions).to_contain_text("bot:act_2")
    assert victim.all("unsubscribed") == [{"type": "workflow", "workflow_id": "act_1", "reason": "operator"}]


async def test_send_a_notice(admin: LiveClientsPage, victim: PlainClient) -> None:
    await admin.page.get_by_role("link", name="Send a notice").click()
    await admin.page.get_by_label("Message").fill("Back <soon> – é")
    await admin.page.get_by_label("Level").select_option("critical")
    await admin.assert_fits()
    await admin.confirm("Send a notice")
    await expect(admin.page.get_by_text("The notice was sent.")).to_be_visible()
    [notice] = victim.all("notice")
    assert (notice["level"], notice["message"]) == ("critical", "Back <soon> – é")


async def test_the_test_client_shows_notices_and_the_emergency_state(deployment: Deployment, tabs: Tabs) -> None:
    page = await tabs.client(deployment.b)
    await page.connect("websocket")
    admin = await tabs.admin(deployment.a)
    await admin.open_client(await page.part("sid").inner_text())
    for state, reason in (("halt", "exchange maintenance"), ("normal", "")):
        body = json.dumps({"state": state, "reason": reason}).encode()
        answer = await asyncio.to_thread(
            request, f"{deployment.a.url}/api/emergency", body, {"Content-Type": "application/json"}
        )
        assert answer[0] == 200
        banner = page.part("emergency")
        if reason:
            await expect(banner).to_contain_text("halt (exchange maintenance)")
            await admin.page.get_by_role("link", name="Send a notice").click()
            await admin.page.get_by_label("Message").fill("Back <soon>")
            await admin.confirm("Send a notice")
            await expect(page.part("notice")).to_contain_text("Operator: Back <soon>")
        # The one does not take the place of the other.
        await expect(banner).to_be_visible(visible=bool(reason))
        await expect(page.part("notice")).to_be_visible()
    await page.part("dismiss-notice").click()
    await expect(page.part("notice")).to_be_hidden()


async def test_disconnect_and_what_the_log_says(deployment: Deployment, admin: LiveClientsPage, victim: PlainClient) -> None:
    await admin.page.get_by_role("link", name="Disconnect").click()
    await admin.page.get_by_role("link", name="Cancel").click()
    await admin.act("Disconnect")
    await expect(admin.page.get_by_text("The client was disconnected.")).to_be_visible()
    await until(lambda: victim.code, "the end of the connection")
    await admin.page.goto(f"{deployment.a.url}/admin/")
    entry = admin.page.locator("#recent-actions-module").get_by_role("link", name=victim.sid)
    await expect(entry).to_have_count(1)
    # What it was done to is gone, and the page says so.
    await entry.click()
    await expect(admin.page.get_by_text("not connected any more")).to_be_visible()
