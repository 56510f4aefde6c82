"""`manage.py soak`: a short run through every kind of process, and every way out."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from tests.conftest import ROOT, manage

SOAK = (sys.executable, "manage.py", "soak")

#: Starting, publishing for 20 s, catching up and ending, on a machine that is busy with other tests.
DEADLINE_S = 180


def soak(*argv: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SOAK, *argv],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


@pytest.mark.timeout(DEADLINE_S + 10)
def test_nothing_is_lost_doubled_or_disordered_while_things_break(tmp_path: Path) -> None:
    faults = "kill-leader,kill-server,drop-clients,cut-redis"
    load = ("--rate", "50", "--clients", "12", "--seconds", "20")
    result = soak(*load, "--fault-every", "4", "--faults", faults, "--seed", "3", "--json", str(tmp_path / "soak.json"))
    assert result.returncode == 0, result.stdout + result.stderr
    found = orjson.loads((tmp_path / "soak.json").read_bytes())
    assert found["published"] == 1_000
    assert {fault["name"] for fault in found["faults"]} == set(faults.split(","))
    assert {stream["transport"] for stream in found["streams"]} == {"websocket", "polling"}
    assert sum(client["recovered"] for client in found["clients"]) > 0
    assert "Nothing lost, nothing doubled, nothing out of order." in result.stdout


@pytest.mark.timeout(DEADLINE_S)
def test_an_interrupt_ends_everything_it_started(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    process = subprocess.Popen(
        [*SOAK, "--seconds", "600", "--clients", "4", "--keep", str(folder)], cwd=ROOT, stderr=subprocess.PIPE
    )
    try:
        while len(started_in(folder)) < 5:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.terminate()
        process.wait(60)
    assert process.returncode == 2
    assert b"Interrupted" in errors
    assert started_in(folder) == []


def test_without_redis_it_says_what_to_install() -> None:
    result = manage("soak", PATH="")
    assert result.returncode == 2
    assert "redis-server is not installed" in result.stderr
    assert "Traceback" not in result.stderr


def test_data_of_an_earlier_soak_is_not_taken_along(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    result = manage("soak", "--keep", str(tmp_path))
    assert result.returncode == 2
    assert "is not empty" in result.stderr


@pytest.mark.parametrize(
    "argv", [("--rate", "0"), ("--faults", "flood"), ("--clients", "many"), ("--faults", "cut-redis", "--no-faults")]
)
def test_wrong_arguments_are_refused(argv: tuple[str, ...]) -> None:
    result = manage("soak", *argv)
    assert result.returncode == 2
    assert "error: argument" in result.stderr


def started_in(folder: Path) -> list[int]:
    """Processes that know the soak's folder: Redis works in it, the others have it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            knows = (process / "cwd").readlink() == folder or str(folder).encode() in (process / "environ").read_bytes()
        except OSError:
            continue  # It has ended meanwhile, or belongs to somebody else.
        if knows:
            found.append(int(process.name))
    return found
