"""The programs in C, compiled as `make bench` compiles them."""

import subprocess
from pathlib import Path

import pytest

from bench.paths import BENCH


def compile_to(program: Path, *sources: Path) -> None:
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), *map(str, sources)]
    subprocess.run(command, check=True, timeout=60)


@pytest.fixture(scope="session")
def wsload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("load") / "wsload"
    compile_to(program, *sorted((BENCH / "load").glob("*.c")))
    return program
