"""The direction of imports, as pyproject.toml states it."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_imports_run_one_way() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
