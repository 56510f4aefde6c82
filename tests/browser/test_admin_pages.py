"""The other pages under Monitoring, on a real deployment."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import Tabs
from tests.system.event_data import run_of

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_the_dashboard_draws_the_last_hour(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    admin = await tabs.admin(deployment.a)
    await publish(run_of(20, "dashboard"))
    await admin.visit(deployment.a, "dashboard")
    await expect(admin.page.locator(".components .ill")).to_have_count(0)
    await expect(admin.page.get_by_role("region", name="Processes").locator("tbody tr")).to_have_count(3)
    await expect(admin.page.locator(".charts canvas")).to_have_count(6)
    # Samples are taken every ten seconds, of all three processes.
    choice = admin.page.get_by_label("of", exact=True)
    await expect(choice.locator("option")).to_have_count(4)
    await expect(admin.page.locator("figcaption").first).to_contain_text("Clients 0")
    await choice.select_option(index=1)
    await admin.assert_fits()
