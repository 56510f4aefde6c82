"""The memory of the test client's list, which needs no browser."""

import os
import subprocess

from tests.conftest import ROOT


def test_its_memory_is_bounded_and_right() -> None:
    command = ["node", "--test", "tests/browser/event_store.test.mjs"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
