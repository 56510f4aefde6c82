"""The browser Chromium, without what of it nobody sees."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from playwright.async_api import Browser, async_playwright

#: The address bar of each window has popups that are pages of their own, which nobody sees; without them a page of ours costs a
#: third less. Of several such switches Chromium takes the last, so it has again what Playwright turns off and may matter here.
WITHOUT: Final = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser of its own; it ends with the context."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("These tests need the browser Chromium: install the package chromium, so that `chromium` is in the PATH.")
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", f"--disable-features={','.join(WITHOUT)}"]
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        await browser.close()
