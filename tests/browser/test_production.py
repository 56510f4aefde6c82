"""The pages as production serves them: collected files, their policy, secure cookies, a login; the browser finds no fault."""

import re
import secrets
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.async_api import expect

from tests.browser.pages import Tabs
from tests.browser.test_policy import expect_policy
from tests.redis_server import RedisServer
from tests.system.stack import Server, Stack

pytestmark = pytest.mark.asyncio(loop_scope="package")

TOKEN: Final = secrets.token_urlsafe(32)

#: The name of a file that was collected has the hash of its content.
COLLECTED: Final = re.compile(r"\.[0-9a-f]{12}\.js$")

#: Under Monitoring in the admin.
PAGES: Final = ["dashboard", "liveclient", "topic", "execution", "deadletter", "emergencystate"]


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server and a relay with production's settings, and the user of development for the login."""
    folder = tmp_path_factory.mktemp("production")
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.browser.production",
        "PRODUCTION_STATIC_ROOT": str(folder / "static"),
        "ENV": "production",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ALLOWED_HOSTS": "events.example.com",
        "WS_AUTH_TOKEN": TOKEN,
    }
    with RedisServer() as redis, Stack(folder, redis, **variables) as stack:
        prepared = [stack.manage("collectstatic", "--no-input"), stack.manage("bootstrap", ENV="development")]
        assert [each.wait() for each in prepared] == [0, 0]
        stack.runbus()
        yield stack.serve()


async def test_the_test_client(production: Server, tabs: Tabs) -> None:
    tab = await tabs.client(production)
    await expect_policy(await tab.page.reload())
    scripts = await tab.page.locator("script[src]").evaluate_all("all => all.map(each => each.src)")
    assert all(COLLECTED.search(script) for script in scripts), scripts
    await tab.connect("websocket", TOKEN)
    await tab.subscribe("workflow", "policy")


async def test_the_login_and_all_pages_under_monitoring(production: Server, tabs: Tabs) -> None:
    # Cookies for HTTPS only: Chromium takes 127.0.0.1 for as good as that.
    tab = await tabs.admin(production)
    for name in PAGES:
        await expect_policy(await tab.page.goto(f"{production.url}/admin/monitoring/{name}/"))
        await expect(tab.page.locator("#content")).to_be_visible()
    await expect_policy(await tab.page.goto(f"{production.url}/api/docs/"))
    await expect(tab.page.locator(".opblock").first).to_be_visible()
