"""Executions on the test client: as a timeline, as a table, and as a filter of the events."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import Tabs
from tests.system.event_data import event

pytestmark = pytest.mark.asyncio(loop_scope="package")

BEGIN = [
    event(0, "gantt_wf", type="execution_started", node_count=2),
    event(1, "gantt_wf", type="node_started", node_id="price", node_name="Price Feed"),
]
END = [
    event(
        2,
        "gantt_wf",
        type="node_failed",
        node_id="price",
        error="Connection timeout",
        error_type="TimeoutError",
        duration_ms=45,
    ),
    event(3, "gantt_wf", type="execution_completed", status="failed", duration_ms=60),
]


async def test_a_run_from_its_start_to_its_failure(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    await publish(BEGIN)
    page = await tabs.client(deployment.a, "?workflow=gantt_wf&transport=websocket&autoconnect=1&tab=timeline")
    run, lane = page.part("run"), page.part("lane")
    await expect(run).to_contain_text("running · 0 of 2 nodes")
    await expect(lane).to_have_attribute("data-status", "running")
    # What runs grows by itself.
    took = await lane.locator(".took").inner_text()
    await expect(lane.locator(".took")).not_to_have_text(took)
    await expect(page.part("tab-executions")).to_contain_text("1 running")

    other = {**BEGIN[0], "execution_id": "exec_gantt_wf_other"}
    await publish([*END, other])
    await expect(run).to_have_count(2)
    await expect(run.last).to_contain_text("failed · 1 of 2 nodes · 60 ms")
    await expect(run.last).to_contain_text("Price Feed: Connection timeout (TimeoutError)")
    await expect(lane.locator(".took")).to_have_text("45 ms")

    await page.part("tab-executions").click()
    rows = page.part("execution")
    await expect(rows).to_have_count(2)
    await expect(rows.last).to_have_attribute("data-status", "failed")
    await expect(rows.last.locator("td.error")).to_have_text("Connection timeout")
    await rows.last.get_by_role("button").click()
    await expect(page.part("tab-events")).to_have_attribute("aria-selected", "true")
    await page.expect_shown("4 of 5 events")
    assert {item["execution_id"] for item in await page.events()} == {"exec_gantt_wf_a1b2c3d4"}
    await page.part("execution-filter-off").click()
    await page.expect_events(5)
