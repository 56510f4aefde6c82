"""The load client, compiled as `make bench` compiles it."""

import subprocess
from pathlib import Path

import pytest

from bench.paths import BENCH


@pytest.fixture(scope="session")
def wsload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("load") / "wsload"
    sources = sorted(str(source) for source in (BENCH / "load").glob("*.c"))
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), *sources], check=True, timeout=60)
    return program
