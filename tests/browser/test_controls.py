"""What one can press on the test client, and what it says when something is wrong."""

import json
import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import Tabs
from tests.system.event_data import run_of
from tests.system.stack import Server

pytestmark = pytest.mark.asyncio(loop_scope="package")

EVERY_KIND = (("workflow", "all_wf"), ("bot", "all_bot"), ("strategy", "all_strategy"), ("all_bots", ""))


async def test_every_kind_of_subscription(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    page = await tabs.client(deployment.a)
    await page.connect("websocket")
    for kind, identifier in EVERY_KIND:
        await page.subscribe(kind, identifier)
        await page.subscribe(kind, identifier)
    await expect(page.part("subscription")).to_have_count(4)

    await publish(run_of(1, "all_wf", "all_bot", "all_strategy"))
    for kind, identifier in EVERY_KIND:
        await expect(page.topic(kind, identifier).locator(".count")).to_contain_text("1 live")
    await page.expect_tiles(event=1, missed=0, duplicate=0, error=0)

    await page.part("request-stats").click()
    await expect(page.part("stats")).to_contain_text("subscriptions")
    for kind, identifier in EVERY_KIND:
        await page.unsubscribe(kind, identifier)
    await expect(page.page.locator("#no-subscriptions")).to_be_visible()
    await page.disconnect()
    await expect(page.part("request-stats")).to_be_disabled()


async def test_errors_are_shown(deployment: Deployment, tabs: Tabs) -> None:
    page = await tabs.client(deployment.a)
    await page.connect("websocket")
    for kind in ("workflow", "bot", "strategy"):
        await page.request_topic(kind, "   ")
        await page.expect_error(f"Give the id of the {kind}.")
        await expect(page.part("topic-id")).to_be_focused()
    await page.subscribe("workflow", "kept")
    await page.request_topic("workflow", "x" * 2_000)
    await page.expect_error("(invalid_field, field workflow_id)")
    await page.expect_tiles(error=4)
    await expect(page.part("subscription")).to_have_count(1)
    await expect(page.topic("workflow", "kept")).to_have_attribute("data-state", "active")
    await page.expect_fit()

    await page.part("clear-errors").click()
    await expect(page.part("error")).to_have_count(0)
    await expect(page.part("clear-errors")).to_be_hidden()


async def test_a_token_given_at_connecting(guarded: Server, tabs: Tabs) -> None:
    page = await tabs.client(guarded)
    sent: list[str] = []
    page.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    await page.connect("websocket", token="right")
    await expect(page.part("auth")).to_have_text("required, done")
    await page.subscribe("workflow", "w")
    await page.expect_tiles(error=0)
    assert sent[0] == "40" + json.dumps({"token": "right"}, separators=(",", ":"))
    assert not any("authenticate" in frame for frame in sent)


async def test_no_token_a_wrong_one_and_the_right_one(guarded: Server, tabs: Tabs) -> None:
    page = await tabs.client(guarded)
    await page.connect()
    await expect(page.part("auth")).to_have_text("required: give a token")
    await page.part("request-stats").click()
    await page.expect_error("Authentication required (authentication_required)")
    await page.disconnect()

    await page.connect(token="wrong")
    await page.expect_error("Invalid token")
    await expect(page.part("auth")).to_have_text("required, refused")
    await page.request_topic("workflow", "w")
    await expect(page.topic("workflow", "w")).to_have_attribute("data-state", "waiting")

    await page.part("token").fill("right")
    await page.part("authenticate").click()
    await expect(page.part("auth")).to_have_text("required, done")
    await expect(page.topic("workflow", "w")).to_have_attribute("data-state", "active")
    assert guarded.publish(run_of(1, "w")[0], token="right")[0] == 202
    await page.expect_tiles(event=1, error=2)


async def test_the_link_to_a_view_has_no_token(guarded: Server, tabs: Tabs) -> None:
    page = await tabs.client(guarded, "?workflow=one&bot=two&strategy=three&all_bots=1&transport=websocket")
    await page.part("token").fill("right")
    await page.part("share").click()
    await expect(page.page.locator("#share-note")).to_contain_text("The token is not part of it.")
    assert page.page.url.endswith("/?workflow=one&bot=two&strategy=three&all_bots=1&transport=websocket&autoconnect=1")
    again = await tabs.client(guarded, page.page.url.partition("/?")[2].join(("?", "")))
    await again.await_session()
    await expect(again.part("subscription")).to_have_count(4)


async def test_the_list_of_events(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    """Filters, pause, details, and a clean slate."""
    page = await tabs.client(deployment.b, "?workflow=list_wf&autoconnect=1&transport=websocket")
    await expect(page.topic("workflow", "list_wf")).to_have_attribute("data-state", "active")
    typed = zip(run_of(3, "list_wf"), ("a_kind", "b_kind", "a_kind"), strict=True)
    await publish([{**event, "type": kind} for event, kind in typed])
    await page.expect_events(3)
    await page.part("type-filter").select_option("a_kind")
    await page.expect_shown("2 of 3 events")
    assert [event["number"] for event in await page.events()] == [0, 2]
    await page.part("filter").fill("nothing has this")
    await expect(page.page.get_by_text("No event passes the filter.")).to_be_visible()
    await page.part("filter").fill("")
    await page.part("type-filter").select_option("")
    await page.expect_events(3)

    await page.part("event-row").filter(has_text="b_kind").click()
    await expect(page.part("event-json")).to_contain_text('"number": 1')
    await page.part("close-inspector").click()
    await expect(page.part("event-json")).to_be_hidden()
    await page.part("pause").click()
    await publish(run_of(2, "list_wf", start=3))
    await expect(page.part("pause")).to_have_text("Resume (2 new)")
    await expect(page.part("event-row")).to_have_count(3)
    await page.part("pause").click()
    await expect(page.part("event-row")).to_have_count(5)
    await page.expect_events(5)
    await page.part("clear").click()
    await page.expect_events(0)
    await page.expect_tiles(event=0)


async def test_publishing_by_hand(guarded: Server, tabs: Tabs) -> None:
    page = await tabs.client(guarded, "?workflow=hand_wf&transport=websocket")
    page.tolerated = re.compile("status of 40[01]")
    result = page.part("publish-result")
    await page.part("publish-panel").locator("summary").click()
    await page.part("publish-workflow").fill("hand_wf")
    await page.part("publish").click()
    await expect(result).to_contain_text("token", ignore_case=True)

    await page.connect("websocket", token="right")
    await page.part("publish-fields").fill("{not json")
    await page.part("publish").click()
    await expect(result).to_contain_text("Further fields are not valid JSON")
    await page.part("publish-fields").fill('{"timestamp": "tomorrow"}')
    await page.part("publish").click()
    await expect(result).to_contain_text("timestamp must be ISO 8601")
    await page.part("publish-fields").fill('{"price": 50234.56}')
    await page.part("publish").click()
    await expect(result).to_contain_text("Accepted: signal_generated")
    (event,) = await page.expect_events(1)
    assert (event["workflow_id"], event["price"]) == ("hand_wf", 50234.56)
