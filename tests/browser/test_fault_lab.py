"""The fault lab: what breaks there breaks for real, and nothing is lost."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import ClientPage, Tabs
from tests.system.event_data import assert_contiguous, numbers, run_of

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def in_lab(deployment: Deployment, tabs: Tabs, workflow: str) -> ClientPage:
    page = await tabs.client(deployment.a, f"?workflow={workflow}&transport=websocket&autoconnect=1")
    await expect(page.topic("workflow", workflow)).to_have_attribute("data-state", "active")
    await page.part("lab").locator("summary").click()
    return page


async def expect_verdict(page: ClientPage, text: str) -> None:
    line = page.part("lab-line").first
    await expect(line).to_contain_text(text)
    await expect(line).to_have_attribute("data-good", "true")


async def test_a_dropped_socket_and_another_server_process(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    page = await in_lab(deployment, tabs, "lab_wf")
    run = run_of(250, "lab_wf")
    await publish(run[:10])
    await page.expect_tiles(event=10)
    first = await page.part("sid").text_content()

    await page.part("lab-drop").click()
    await expect_verdict(page, "nothing missing")
    assert await page.part("sid").text_content() != first
    await expect(page.part("reconnects")).to_have_text("1")

    await page.part("lab-seconds").select_option("1")
    await page.part("lab-offline").click()
    await expect(page.part("state")).to_have_text("disconnected")
    await publish(run[10:200])
    await expect_verdict(page, "Stayed away for 1.0 s")

    await page.part("lab-url").fill(deployment.b.url)
    await page.part("lab-switch").click()
    await expect_verdict(page, f"Moved to {deployment.b.url}")
    await expect(page.part("url")).to_have_value(deployment.b.url)
    await publish(run[200:])
    shown = await page.expect_events(250)
    assert numbers(shown) == list(range(250))
    assert_contiguous(shown, "workflow")
    await page.expect_complete("#1–#250 complete", "workflow", "lab_wf")
    await page.expect_tiles(missed=0, duplicate=0, error=0)


async def test_resuming_from_earlier_and_a_tab_that_stands_still(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    page = await in_lab(deployment, tabs, "rewind_wf")
    await publish(run_of(150, "rewind_wf"))
    await page.expect_tiles(event=150)
    await page.part("lab-back").select_option("1000000")
    await page.part("lab-rewind").click()
    await expect_verdict(page, "Resumed from the beginning")
    await expect_verdict(page, "150 events replayed, nothing missing")
    await page.expect_note("Replayed 150 for workflow:rewind_wf, 150 of them known already.")
    await page.expect_events(150)

    await page.part("lab-seconds").select_option("1")
    await page.part("lab-freeze").click()
    await publish(run_of(50, "rewind_wf", start=150))
    await expect_verdict(page, "Read nothing for 1.0 s")
    assert numbers(await page.expect_events(200)) == list(range(200))
    await page.expect_complete("#1–#200 complete", "workflow", "rewind_wf")
    await page.expect_tiles(missed=0, duplicate=0, error=0)
