"""A short run of the fuzzer over all targets, and each target's own seeds. `make fuzz` runs for longer."""

import os
import re
import subprocess
import sys

import pytest

from fuzz.targets import TARGETS
from tests.conftest import ROOT

RUNS = 4_000


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_show_the_way_in(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.timeout(130)
def test_the_fuzzer_finds_nothing() -> None:
    command = [sys.executable, "-m", "fuzz", "all", "--runs", str(RUNS), "--seconds", "100", "--seed", "1"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "ENV_FILE": ""}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    tried = re.search(r"stat::number_of_executed_units: +(\d+)", done.stderr)
    assert tried is not None
    assert int(tried[1]) > 1_000
