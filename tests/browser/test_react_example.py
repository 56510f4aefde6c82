"""The React dashboard of the examples, in a real browser against a real server.

It is built with React's development version, so that its `StrictMode` mounts every component twice: hooks that cannot stand
that open a connection too many, or lose a subscription.
"""

import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import Deployment, Publish
from tests.browser.pages import Watched
from tests.conftest import ROOT
from tests.system.event_data import event

pytestmark = pytest.mark.asyncio(loop_scope="package")

VITE: Final = ROOT / "node_modules" / ".bin" / "vite"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        pass


@pytest.fixture(scope="module")
def dashboard(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built dashboard, which asks the deployment's first server."""
    if not VITE.exists():
        pytest.fail("This test needs the packages for development: run `./scripts/setup.sh dev`.")
    folder: Path = tmp_path_factory.mktemp("dashboard")
    environment = {"PATH": os.environ["PATH"], "VITE_SERVER_URL": deployment.a.url, "NODE_ENV": "development"}
    command = [str(VITE), "build", "examples/react", "--outDir", str(folder), "--logLevel", "error"]
    command += ["--mode", "development", "--minify", "false"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.timeout(150)
async def test_it_follows_executions_over_one_connection(dashboard: str, browser: Browser, publish: Publish) -> None:
    begin = [
        event(0, "react_wf", type="execution_started", node_count=1),
        event(1, "react_wf", type="node_started", node_id="price", node_name="Price Feed"),
    ]
    end = event(2, "react_wf", type="node_failed", node_id="price", error="Connection timeout", duration_ms=45)
    await publish(begin)
    tab = Watched(await browser.new_page())
    opened: list[str] = []
    tab.page.on("websocket", lambda socket: opened.append(socket.url))
    await tab.page.goto(dashboard)
    await expect(tab.page.get_by_role("status")).to_have_text("connected")
    events = tab.page.get_by_role("region", name="Events")
    await expect(events.get_by_text("react_wf")).to_have_count(2)

    await tab.page.get_by_role("button", name="react_wf").click()
    run = tab.page.get_by_role("region", name="Execution", exact=True)
    await expect(run.get_by_role("row", name="Price Feed running")).to_be_visible()
    await publish([end])
    await expect(run.get_by_role("row", name="Price Feed failed 45 ms")).to_be_visible()
    await expect(run.get_by_role("alert")).to_have_text("Connection timeout")
    assert len(opened) == 1
    assert tab.problems == []
    await tab.page.close()
