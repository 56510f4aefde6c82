"""`manage.py abuse`: a short attack of every kind next to honest clients."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from events.soak.hostile import KINDS
from tests.conftest import ROOT, manage
from tests.system.stack import Program, await_condition

#: Attackers have the lowest priority: it takes a while until they get anywhere on a busy machine.
LOAD = ("--clients", "10", "--sockets", "130", "--quiet", "1", "--hostile", "20", "--after", "1")

#: Starting, 24 seconds, and ending, on a machine that is busy with other tests.
DEADLINE_S = 150


@pytest.mark.timeout(DEADLINE_S + 10)
def test_honest_clients_miss_nothing_while_every_kind_of_attack_goes_on(tmp_path: Path) -> None:
    argv = (sys.executable, "manage.py", "abuse", *LOAD, "--json", str(tmp_path / "abuse.json"))
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert result.returncode == 0, result.stdout + result.stderr
    found = orjson.loads((tmp_path / "abuse.json").read_bytes())
    assert found["honest"]["published"] == 440
    assert sum(stream["delivered"] for stream in found["honest"]["streams"]) > 0
    assert set(found["hostile"]) == set(KINDS)
    assert all(outcome["opened"] - outcome["refused"] > 0 for outcome in found["hostile"].values())
    # On a busy machine not each kind gets as far; what happens to each is in tests/system/test_hostile_input.py.
    broken = ("garbage", "garbage packets", "huge frame", "bad UTF-8", "deep JSON", "wrong order")
    assert sum(found["hostile"][kind]["closed"] for kind in broken) > 0


@pytest.mark.parametrize("argv", [("--sockets", "0"), ("--hostile", "long")])
def test_wrong_arguments_are_refused(argv: tuple[str, ...]) -> None:
    result = manage("abuse", *argv)
    assert result.returncode == 2
    assert "error: argument" in result.stderr


@pytest.mark.timeout(DEADLINE_S)
def test_an_interrupted_run_ends_everything_that_it_started(tmp_path: Path) -> None:
    argv = [sys.executable, "manage.py", "abuse", "--clients", "2", "--sockets", "26", "--quiet", "0.5", "--hostile", "600"]
    run = Program(argv, {**os.environ, "PYTHONUNBUFFERED": "1"}, tmp_path / "abuse.log")
    try:
        run.await_log("hostile")
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        # Redis, a server, a relay, and the attackers.
        await_condition(lambda: len(children.read_text().split()) == 4, children.read_text)
        started = children.read_text().split()
        run.signal(signal.SIGINT)
        assert run.wait() == 2
    finally:
        run.signal(signal.SIGKILL)
    assert "Interrupted; everything that was started has been ended." in run.log
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
