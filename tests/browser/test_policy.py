"""The pages under their Content Security Policy: a real browser finds nothing in them that it forbids."""

import re
from typing import Final

import pytest
from playwright.async_api import Response, expect

from tests.browser.conftest import Deployment
from tests.browser.pages import Tabs

pytestmark = pytest.mark.asyncio(loop_scope="package")

ADMIN_PAGES: Final = [
    "/admin/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/user/1/change/",
    "/admin/auth/user/1/history/",
    "/admin/auth/user/1/delete/",
    "/admin/auth/group/add/",
    "/admin/monitoring/liveclient/",
    "/admin/password_change/",
    "/admin/nothing/",
]


async def expect_policy(response: Response | None) -> None:
    assert response is not None
    directives = dict(part.split(" ", 1) for part in (await response.all_headers())["content-security-policy"].split("; "))
    assert directives["default-src"] == "'self'"
    assert not {"script-src", "style-src"} & set(directives), "scripts and styles follow default-src"
    assert "unsafe" not in " ".join(directives.values())
    assert directives["frame-ancestors"] == directives["object-src"] == directives["base-uri"] == "'none'"


async def test_the_test_client(deployment: Deployment, tabs: Tabs) -> None:
    tab = await tabs.client(deployment.a)
    await expect_policy(await tab.page.reload())
    await tab.connect("websocket")
    await tab.subscribe("workflow", "policy")


async def test_the_test_client_may_ask_another_server(deployment: Deployment, tabs: Tabs) -> None:
    tab = await tabs.client(deployment.a)
    await tab.part("url").fill(deployment.b.url)
    await tab.connect("polling")


async def test_the_api_documentation(deployment: Deployment, tabs: Tabs) -> None:
    tab = await tabs.client(deployment.a)
    await expect_policy(await tab.page.goto(f"{deployment.a.url}/api/docs/"))
    operation = tab.page.locator(".opblock", has_text="/api/events")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Try it out").click()
    await operation.get_by_role("button", name="Execute").click()
    await expect(operation.locator(".responses-table.live-responses-table")).to_contain_text("202")


async def test_the_admin(deployment: Deployment, tabs: Tabs) -> None:
    tab = await tabs.admin(deployment.a)
    # What the browser itself says of a page that is not there.
    tab.tolerated = re.compile("404")
    for path in ADMIN_PAGES:
        response = await tab.page.goto(f"{deployment.a.url}{path}")
        assert response is not None
        # The page of an error while developing is Django's own, and has no policy.
        if response.status == 200:
            await expect_policy(response)
