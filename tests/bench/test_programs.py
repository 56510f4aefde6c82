"""The programs that are compared, and their end."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cases import CASES, GROWTH, TABLE
from bench.load import Load
from bench.paths import BENCH, BUILD, ROOT
from bench.peer import PEERS_BY_NAME, Place
from bench.programs import Command, Failed, Program, cpu_s, family, resident_kib, wait_until
from tests.bench.conftest import compile_to
from tests.system.stack import await_condition


@pytest.mark.parametrize("name", PEERS_BY_NAME)
def test_what_a_peer_is_started_with_is_there(name: str, tmp_path: Path) -> None:
    for command in PEERS_BY_NAME[name].commands(Place(tmp_path, 1, 2), Load()):
        program, *arguments = command.argv
        if Path(program).parent == BUILD:
            compile_to(tmp_path / name, BENCH / "peers" / f"{name}.c")
            continue
        assert shutil.which(program), program
        folder = command.folder or ROOT
        for argument in arguments:
            if argument.endswith((".py", ".js", ".conf")):
                assert (folder / argument).is_file()
            elif ":" in argument and argument.partition(":")[0].isidentifier() and "=" not in argument:
                assert (folder / f"{argument.partition(':')[0]}.py").is_file()


def test_uvicorn_knows_the_options() -> None:
    place = Place(Path(), 1, 2)
    [command] = PEERS_BY_NAME["rooms-uvicorn"].commands(place, Load())
    known = subprocess.run([sys.executable, "-m", "uvicorn", "--help"], capture_output=True, text=True, check=True).stdout
    assert [option for option in command.argv if option.startswith("--") and option not in known] == []


def test_cases_compare_servers_that_they_run() -> None:
    for case in TABLE:
        for target in case.targets:
            kind, _, name = target.against.partition(":")
            assert target.ours in case.peers, target
            assert not target.against or (name in CASES if kind == "case" else kind in case.peers), target


def test_a_program_ends_with_its_children(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 60 & wait"
    with Program(Command("server", ["sh", "-c", script]), tmp_path / "log", stop_s=0.2) as program:
        await_condition(lambda: len(program.pids) == 2, lambda: "the child")
        pids = program.pids
        assert resident_kib([program]) > 0
        assert cpu_s([program]) > 0
    await_condition(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), lambda: f"the end of {pids}")


def test_a_program_that_ends_by_itself_is_a_failure_with_its_last_words(tmp_path: Path) -> None:
    with (
        Program(Command("server", ["sh", "-c", "echo no port; exit 3"]), tmp_path / "log") as program,
        pytest.raises(Failed, match="code 3: no port"),
    ):
        wait_until(lambda: False, "it", [program])


def test_an_interrupted_run_leaves_nothing_behind() -> None:
    argv = [sys.executable, "-m", "bench", "--cases", "fanout-200", "--peers", "ours"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
        # Redis, the server and the relay.
        await_condition(lambda: len(family(bench.pid)) >= 4, lambda: "the programs of a run")
        started = family(bench.pid)
        bench.send_signal(signal.SIGINT)
        _, errors = bench.communicate(timeout=30)
    assert bench.returncode == 130, errors
    assert "interrupted" in errors
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def test_every_case_has_a_name_of_its_own() -> None:
    assert len(CASES) == len(TABLE) + len(GROWTH)
