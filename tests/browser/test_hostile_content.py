"""What publishers and clients may write shows as itself: it is no markup, no script, and no property of every object."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import pytest
from django.contrib.admin.utils import quote as quote_id
from playwright.async_api import Page, expect

from tests.browser.conftest import Deployment, Publish, deployed
from tests.browser.pages import Tabs
from tests.system.clients import PlainClient
from tests.system.event_data import event

pytestmark = pytest.mark.asyncio(loop_scope="package")

#: Whatever of these is taken for more than text sets `owned` or asks the server for `owned`, of which the page complains.
MARKUP: Final = "\"'><img src=/owned onerror=owned=1><script>owned=1</script>{{ 7|add:7 }}</textarea></title>"
ADDRESS: Final = "javascript:owned=1//"

#: Names that every JavaScript object has.
INHERITED: Final = ("__proto__", "constructor", "prototype", "toString", "valueOf", "hasOwnProperty", "isPrototypeOf")

#: What a link to the test client may name.
KINDS: Final = ("workflow", "bot", "strategy")

#: Names that must not become those of every object.
POLLUTION: Final = {"__proto__": {"owned": 1}, "constructor": {"prototype": {"owned": 1}}}

#: The whole number of what was let in.
OWNED: Final = "() => [window.owned, {}.owned, [].owned, (() => 1).owned].filter((each) => each !== undefined).length"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One of its own: what is published here would be among everybody's recent events."""
    with deployed(tmp_path_factory.mktemp("hostile")) as running:
        yield running


def hostile(number: int, name: str) -> dict[str, Any]:
    names = dict.fromkeys(("type", "execution_id", "workflow_id", "bot_id", "strategy_id", "node_id"), name)
    return {**event(number, name), **names, **POLLUTION, "node_name": name, "error": name, "error_type": name, "status": name}


def run_of(name: str) -> list[dict[str, Any]]:
    """An execution whose names are all this one, from its start to its failure."""
    kinds = ("execution_started", "node_started", "node_failed", "execution_completed")
    return [hostile(0, name), *({**hostile(number, name), "type": kind} for number, kind in enumerate(kinds, 1))]


async def assert_untouched(page: Page) -> None:
    assert await page.evaluate(OWNED) == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "names", [(MARKUP, ADDRESS, INHERITED[0]), INHERITED[1:4], INHERITED[4:]], ids=["markup", "constructor", "valueOf"]
)
async def test_the_test_client_shows_events_as_they_are(
    deployment: Deployment, tabs: Tabs, publish: Publish, names: tuple[str, str, str]
) -> None:
    """Three at a time: one topic of each kind fits into a link."""
    link = "&".join(f"{kind}={quote(name, safe='')}" for kind, name in zip(KINDS, names, strict=True))
    tab = await tabs.client(deployment.a, f"?transport=constructor&tab=constructor&{link}")
    await tab.connect("websocket")
    await expect(tab.page.locator("[data-testid=subscription][data-state=active] .id")).to_have_text(names)
    for count, name in enumerate(names, 1):
        newest_first = names[:count][::-1]
        await publish(run_of(name))
        shown = await tab.expect_events(5)
        assert all(json.dumps(each).count('"owned": 1') == 2 for each in shown), name
        await expect(tab.part("event-row").locator(".workflow")).to_have_text([name] * 5)
        await tab.part("event-row").last.click()
        await expect(tab.part("event-json")).to_contain_text('"owned": 1')
        await tab.part("tab-timeline").click()
        await expect(tab.part("lane").locator(".name")).to_have_text(newest_first)
        await tab.part("tab-executions").click()
        await expect(tab.part("execution").locator("td.error")).to_have_text(newest_first)
        await assert_untouched(tab.page)
        await tab.part("tab-events").click()
        await tab.part("clear").click()


@pytest.mark.timeout(180)
async def test_the_admin_shows_names_as_they_are(deployment: Deployment, tabs: Tabs, publish: Publish) -> None:
    names = (MARKUP, ADDRESS, "__proto__")
    clients = [await PlainClient().connect(deployment.a.ws_url, user_agent_header=name) for name in names]
    for client, name in zip(clients, names, strict=True):
        await client.call("subscribe_workflow", {"workflow_id": name, "types": [name]})
        await client.call(name, {"workflow_id": name})
    refused = [{**event(0, name), "timestamp": name, "execution_id": name, "workflow_id": ""} for name in names]
    await publish([*(each for name in names for each in run_of(name)), *refused])
    tab = await tabs.admin(deployment.a)
    monitoring = f"{deployment.a.url}/admin/monitoring"
    content = tab.page.locator("#content")
    for client, name in zip(clients, names, strict=True):
        for path in (
            f"liveclient/?q={quote(name)}",
            f"liveclient/{quote_id(client.sid)}/change/",
            f"liveclient/{quote_id(client.sid)}/unsubscribe/?topic={quote(f'workflow:{name}', safe='')}",
            f"execution/{quote(quote_id(name), safe='')}/change/",
        ):
            await tab.page.goto(f"{monitoring}/{path}")
            await expect(content).to_contain_text(name)
            await assert_untouched(tab.page)
    for path in ("topic/", "execution/", "deadletter/"):
        await tab.page.goto(f"{monitoring}/{path}")
        for name in names:
            await expect(content).to_contain_text(name)
        await assert_untouched(tab.page)
    for name in names:
        await tab.page.goto(f"{monitoring}/deadletter/")
        await tab.page.locator("tr[data-key]").filter(has_text=name).get_by_role("link").first.click()
        await expect(tab.page.get_by_role("region", name="Document")).to_contain_text(json.dumps(name))
        await assert_untouched(tab.page)
    for client in clients:
        await client.close()


async def test_the_admin_shows_the_name_of_a_token_as_it_is(deployment: Deployment, tabs: Tabs) -> None:
    tab = await tabs.admin(deployment.a)
    tokens = f"{deployment.a.url}/admin/access/accesstoken"
    await tab.page.goto(f"{tokens}/add/")
    await tab.page.get_by_label("Name").fill(MARKUP[:100])
    await tab.page.get_by_label("Scopes").fill("all")
    await tab.page.get_by_role("button", name="Save", exact=True).click()
    await expect(tab.page.locator("#content")).to_contain_text(f"Token of {MARKUP[:100]}")
    await assert_untouched(tab.page)
    await tab.page.goto(f"{tokens}/")
    await tab.page.get_by_role("link", name=re.compile("owned")).click()
    await expect(tab.page.locator("#content h2")).to_contain_text(MARKUP[:40])
    await assert_untouched(tab.page)
    for page in ("history", "delete"):
        await tab.page.goto(tab.page.url.rsplit("/", 2)[0] + f"/{page}/")
        await expect(tab.page.locator("#content")).to_contain_text(MARKUP[:40])
        await assert_untouched(tab.page)


async def test_a_link_to_another_server_is_asked_about(deployment: Deployment, tabs: Tabs) -> None:
    there = deployment.b.url
    tab = await tabs.client(deployment.a, f"?url={quote(f'{there}', safe='')}&transport=websocket&autoconnect=1")
    question = tab.part("elsewhere")
    await expect(question).to_contain_text(f"another server, {there}.")
    await expect(tab.part("url")).to_have_value(deployment.a.url)
    await expect(tab.part("state")).to_have_text("disconnected")
    await tab.part("use-elsewhere").click()
    await tab.await_session()
    await expect(tab.part("url")).to_have_value(there)
    await expect(question).to_be_hidden()


@pytest.mark.parametrize("url", ["javascript:owned=1", "//127.0.0.1", "data:text/html,x", ""])
async def test_a_link_to_no_server_is_one_to_this_one(deployment: Deployment, tabs: Tabs, url: str) -> None:
    tab = await tabs.client(deployment.a, f"?url={quote(url, safe='')}&transport=websocket&autoconnect=1")
    await tab.await_session()
    await expect(tab.part("url")).to_have_value(deployment.a.url)
    await expect(tab.part("elsewhere")).to_be_hidden()
