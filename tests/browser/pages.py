"""The pages as a user has them: what one does there, what one sees, and what the browser complains of."""

import asyncio
import json
import os
import re
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Request, StorageState, ViewportSize, expect

from tests.system.stack import ROOT, Server

DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 360, "height": 740}

#: The pictures in the documentation. `SCREENSHOTS=1 pytest tests/browser` takes them anew.
PICTURES: Final = ROOT / "docs" / "img"
WANTS_PICTURES: Final = bool(os.environ.get("SCREENSHOTS"))

#: The rules of axe-core, run in the page. Those that it calls minor or moderate are advice. What it would preload, our Content
#: Security Policy forbids. The trail of links above the admin's pages is Django's own.
AXE: Final = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS: Final = """
axe.run({ exclude: [".breadcrumbs"] }, { resultTypes: ["violations"], preload: false }).then(({ violations }) => violations
  .filter(({ impact }) => ["serious", "critical"].includes(impact))
  .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html.slice(0, 200)).join(" ")}`))
"""

#: What a browser itself writes to its console while a server is away.
LOST_SERVER: Final = re.compile(r"net::ERR_(CONNECTION_\w+|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING)|WebSocket connection to")


#: A page's layout is settled within this time.
FIT_S: Final = 10


class Watched:
    """One tab in a browser profile of its own.

    problems: errors and warnings of the console, exceptions, and requests to other hosts, so far
    tolerated: what of these is no problem
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.tolerated: re.Pattern[str] | None = None
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._note(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            self._note(f"request to {request.url}")

    def _note(self, problem: str) -> None:
        if self.tolerated is None or not self.tolerated.search(problem):
            self.problems.append(problem)

    async def expect_fit(self) -> None:
        """Nothing sticks out to the right, once the page has come and its charts have taken the window's new size."""
        root = "document.documentElement"
        async with asyncio.timeout(FIT_S):
            while await self.page.evaluate(f"document.readyState !== 'complete' || {root}.scrollWidth > {root}.clientWidth"):
                await self.page.wait_for_timeout(50)

    async def assert_accessible(self) -> None:
        """Names, roles, contrast, structure: axe-core finds nothing serious in what is shown."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = await self.page.evaluate(SERIOUS)
        assert not found, found

    async def photograph(self, name: str, width: int, height: int) -> None:
        """Take a picture for the documentation, where that is asked for."""
        if WANTS_PICTURES:
            await self.page.set_viewport_size({"width": width, "height": height})
            await self.page.screenshot(path=PICTURES / name, animations="disabled")


class ClientPage(Watched):
    """The test client."""

    def part(self, testid: str) -> Locator:
        return self.page.get_by_test_id(testid)

    async def open(self, server: Server, query: str = "") -> None:
        await self.page.goto(f"{server.url}/{query}")

    # -- what one does --------------------------------------------------------------------------------------------------

    async def connect(self, transport: str = "auto", token: str = "") -> None:
        """Press Connect, and wait until the server has greeted."""
        await self.part("transport").select_option(transport)
        await self.part("token").fill(token)
        await self.part("connect").click()
        await self.await_session()

    async def await_session(self) -> None:
        await expect(self.part("state")).to_have_text("connected")
        await expect(self.part("sid")).not_to_have_text("–")

    async def disconnect(self) -> None:
        await self.part("connect").click()
        await expect(self.part("state")).to_have_text("disconnected")

    async def request_topic(self, kind: str, identifier: str = "") -> None:
        """Fill in the form for a subscription, and press Subscribe."""
        await self.part("kind").select_option(kind)
        if kind != "all_bots":
            await self.part("topic-id").fill(identifier)
        await self.part("subscribe").click()

    async def subscribe(self, kind: str, identifier: str = "") -> None:
        """Subscribe, and wait until the page shows the confirmation."""
        await self.request_topic(kind, identifier)
        await expect(self.topic(kind, identifier)).to_have_attribute("data-state", "active")

    async def unsubscribe(self, kind: str, identifier: str = "") -> None:
        row = self.topic(kind, identifier)
        await row.get_by_test_id("unsubscribe").click()
        await expect(row).to_have_count(0)

    # -- what one sees --------------------------------------------------------------------------------------------------

    def topic(self, kind: str, identifier: str = "") -> Locator:
        """The row of a subscription."""
        key = f"{kind}:{identifier}" if identifier else kind
        return self.page.locator(f'[data-testid=subscription][data-topic="{key}"]')

    async def expect_topic(self, counts: str, kind: str, identifier: str = "") -> None:
        await expect(self.topic(kind, identifier).locator(".count")).to_have_text(counts)

    async def expect_tiles(self, **numbers: int) -> None:
        """`event=3` waits until the tile of live events shows 3."""
        for name, number in numbers.items():
            await expect(self.part(f"{name}-count")).to_have_text(str(number))

    async def expect_error(self, text: str) -> None:
        await expect(self.part("error").filter(has_text=text)).to_be_visible()

    async def expect_note(self, text: str) -> None:
        await expect(self.part("note").filter(has_text=text).first).to_be_visible()

    async def events(self) -> list[dict[str, Any]]:
        """The events that pass the filter, oldest first, as the page exports them."""
        async with self.page.expect_download() as export:
            await self.part("export").click()
        lines = (await (await export.value).path()).read_text().splitlines()
        return [json.loads(line) for line in lines]

    async def expect_shown(self, text: str) -> None:
        """`text` is what the list says of itself: `2 of 3 events`."""
        await expect(self.part("shown")).to_have_text(text)

    async def expect_events(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many events in the list; returns them, oldest first."""
        await self.expect_shown(f"{count:,} event{'s' if count != 1 else ''}" if count else "")
        return await self.events() if count else []

    async def expect_complete(self, text: str, kind: str, identifier: str = "") -> None:
        """`text` is what a subscription says of its offsets: `#1–#290 complete`."""
        await expect(self.topic(kind, identifier).get_by_test_id("complete")).to_have_text(text)


class LiveClientsPage(Watched):
    """The admin's table of clients, and the page of each."""

    async def open_client(self, sid: str) -> None:
        """Go from the table to one client."""
        await self.search(sid)
        await self.page.get_by_role("link", name=sid).click()
        await expect(self.page.get_by_role("region", name="Subscriptions")).to_be_visible()

    async def visit(self, server: Server, name: str) -> None:
        """Go to another page under Monitoring."""
        await self.page.goto(f"{server.url}/admin/monitoring/{name}/")

    async def act(self, link: str, button: str = "") -> None:
        """Follow the link to an action, and confirm it."""
        await self.page.get_by_role("link", name=link, exact=True).click()
        await self.confirm(button or link)

    async def confirm(self, button: str) -> None:
        await self.page.get_by_role("button", name=button, exact=True).click()

    async def assert_fits(self) -> None:
        """Both schemes, on a desktop and on a phone."""
        schemes: tuple[Literal["light", "dark"], ...] = ("dark", "light")
        for scheme in schemes:
            await self.page.emulate_media(color_scheme=scheme)
            for size in (PHONE, DESKTOP):
                await self.page.set_viewport_size(size)
                await self.expect_fit()

    async def sign_in(self, server: Server) -> None:
        """As the user that development has."""
        await self.visit(server, "liveclient")
        await self.page.get_by_label("Username").fill("admin")
        await self.page.get_by_label("Password").fill("admin")
        await self.page.get_by_role("button", name="Log in").click()
        await self.expect_table()

    async def expect_table(self) -> None:
        await expect(self.page.get_by_role("region", name="Live clients")).to_be_visible()

    def row(self, sid: str) -> Locator:
        return self.page.locator(f'tr[data-key="{sid}"]')

    @property
    def rows(self) -> Locator:
        return self.page.locator("tr[data-key]")

    async def search(self, text: str) -> None:
        await self.page.get_by_role("textbox", name="Search").fill(text)
        await self.page.get_by_role("button", name="Search").click()
        await self.page.wait_for_url(re.compile(r"[?&]q="))


class Tabs:
    """Opens tabs and, at the end, asks each whether the browser complained.

    signed_in: what browsers keep of the servers where somebody has signed in; the password is not asked for again
    """

    def __init__(self, browser: Browser, signed_in: dict[Server, StorageState]) -> None:
        self._browser = browser
        self._signed_in = signed_in
        self._opened: list[Watched] = []

    async def client(self, server: Server, query: str = "", **options: Any) -> ClientPage:
        """A test client from this server. `options` are those of a browser context, such as `color_scheme`."""
        tab = ClientPage(await self._page(options))
        self._opened.append(tab)
        await tab.open(server, query)
        return tab

    async def admin(self, server: Server) -> LiveClientsPage:
        """The live clients, signed in."""
        kept = self._signed_in.get(server)
        tab = LiveClientsPage(await self._page({"storage_state": kept}))
        self._opened.append(tab)
        if kept is None:
            await tab.sign_in(server)
            self._signed_in[server] = await tab.page.context.storage_state()
        else:
            await tab.visit(server, "liveclient")
            await tab.expect_table()
        return tab

    async def _page(self, options: dict[str, Any]) -> Page:
        context = await self._browser.new_context(**{"viewport": DESKTOP, **options})
        return await context.new_page()

    async def close(self) -> list[str]:
        """Close all tabs. Returns all problems."""
        for tab in self._opened:
            await tab.page.context.close()
        return [problem for tab in self._opened for problem in tab.problems]
