"""The Python client as a package: built, installed into a fresh environment, and imported there."""

import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.conftest import ROOT


def test_it_installs_into_a_fresh_environment(tmp_path: Path) -> None:
    """Needs no network: what builds it, and what it needs, is what the project has."""
    fresh = tmp_path / "venv"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    for command in (
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT / "clients" / "python")],
        [sys.executable, "-m", "venv", "--without-pip", str(fresh)],
        [
            *pip,
            "--python",
            str(fresh / "bin" / "python"),
            "install",
            "--no-deps",
            "--no-index",
            "-f",
            str(tmp_path),
            "workflow-events",
        ],
    ):
        subprocess.run(command, check=True, timeout=60, cwd=tmp_path)
    program = (
        "import importlib.resources, workflow_events\n"
        "files = importlib.resources.files(workflow_events)\n"
        "print(workflow_events.__file__, workflow_events.__version__)\n"
        "assert files.joinpath('py.typed').is_file() and files.joinpath('append.lua').is_file()\n"
        "publisher = workflow_events.Publisher.to_redis('redis://127.0.0.1:1', spool='spool')\n"
        "assert publisher.close(timeout_s=0) == 0\n"
    )
    environment = {"PYTHONPATH": sysconfig.get_path("purelib")}
    done = subprocess.run(
        [fresh / "bin" / "python", "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(fresh))
