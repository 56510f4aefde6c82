"""Measures the test client on an embedded server: how soon it can be used, and how smooth it is with a full list.

    python -m tests.browser.measure_page

Wants a quiet machine; takes about a minute.
"""

import asyncio
import itertools
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "wsproject.settings")
django.setup()

from playwright.async_api import Browser, Page, async_playwright, expect  # noqa: E402

from tests.system.event_data import event  # noqa: E402
from tests.system.stack import Server, Stack  # noqa: E402

LOADS: Final = 15
FILL: Final = 105_000
RATE: Final = 1_000
SECONDS: Final = 10
BATCH: Final = 100

#: Milliseconds from the navigation's start to the end of the page's own script.
INTERACTIVE: Final = "performance.getEntriesByName('interactive')[0]?.startTime"

#: Collects the gaps between frames and the tasks of more than 50 ms, in ms.
FRAMES: Final = """
(() => {
  window.gaps = [];
  window.tasks = [];
  const note = (list) => window.tasks.push(...list.getEntries().map(({ duration }) => duration));
  new PerformanceObserver(note).observe({ type: "longtask" });
  let last = performance.now();
  const frame = (now) => { window.gaps.push(now - last); last = now; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
})()
"""


async def load_times(browser: Browser, server: Server) -> list[float]:
    """Each with an empty cache, connecting and subscribing at once."""
    times = []
    for _ in range(LOADS):
        page = await (await browser.new_context()).new_page()
        await page.goto(f"{server.url}/?workflow=measured&autoconnect=1&transport=websocket")
        await page.locator("[data-testid=subscription][data-state=active]").wait_for()
        times.append(float(await page.evaluate(INTERACTIVE)))
        await page.context.close()
    return times


async def publish(server: Server, numbers: Any, count: int, per_second: float) -> None:
    loop = asyncio.get_running_loop()
    began, size = loop.time(), BATCH if per_second else 1_000
    for sent in range(0, count, size):
        batch = [event(next(numbers), "measured", node_id="n") for _ in range(size)]
        status, answer = await asyncio.to_thread(server.publish, *batch)
        assert status == 202, answer
        if per_second:
            await asyncio.sleep(max(0.0, began + (sent + size) / per_second - loop.time()))


async def shown(page: Page) -> str:
    return await page.get_by_test_id("shown").inner_text()


async def smoothness(browser: Browser, server: Server) -> dict[str, Any]:
    """The gaps between frames while a full list gets events."""
    page = await browser.new_page()
    await page.goto(f"{server.url}/?workflow=measured&autoconnect=1&transport=websocket")
    await page.locator("[data-testid=subscription][data-state=active]").wait_for()
    numbers = itertools.count()
    await publish(server, numbers, FILL, 0)
    await expect(page.get_by_test_id("event-count")).to_have_text(str(FILL), timeout=60_000)
    await page.evaluate(FRAMES)
    await publish(server, numbers, RATE * SECONDS, RATE)
    gaps, tasks = sorted(await page.evaluate("window.gaps")), await page.evaluate("window.tasks")
    missed = await page.get_by_test_id("missed-count").inner_text()
    return {
        "kept": await shown(page),
        "missed": int(missed),
        "frames_per_second": round(len(gaps) / SECONDS, 1),
        "frame_gap_p95_ms": round(gaps[int(len(gaps) * 0.95)], 1),
        "frame_gap_max_ms": round(gaps[-1], 1),
        "long_tasks_per_second": round(len(tasks) / SECONDS, 1),
        "longest_task_ms": round(max(tasks, default=0)),
        "heap_mb": await heap_mb(page),
    }


async def heap_mb(page: Page) -> int:
    """What the page's objects take, once the garbage is gone."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    usage = await session.send("Runtime.getHeapUsage")
    return round(float(usage["usedSize"]) / 1e6)


async def measure(server: Server) -> dict[str, Any]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        times = await load_times(browser, server)
        found = {
            "interactive_median_ms": round(statistics.median(times)),
            "interactive_worst_ms": round(max(times)),
            **await smoothness(browser, server),
        }
        await browser.close()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        print(json.dumps(asyncio.run(measure(stack.serve())), indent=2))


if __name__ == "__main__":
    main()
