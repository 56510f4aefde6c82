"""Processes: started with their output in a file, watched, and ended by their pid alone."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

#: How long a process may take to start, and to end when it is asked to.
START_S: Final = 20.0
STOP_S: Final = 4.0


class Failed(Exception):
    """A run came to nothing. The message says why, for the report."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a program is started.

    role:      `server` (the one under test), `relay` (what moves events to it) or `other`
    argv:      the command line
    variables: of its environment, beside the inherited ones
    folder:    where it is started; None for where the benchmark was
    """

    role: str
    argv: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


class Program:
    """One running process and its children. Used as a context, it is ended on the way out."""

    def __init__(self, command: Command, log: Path, cores: Iterable[int] = (), *, stop_s: float = STOP_S) -> None:
        self.role = command.role
        self.name = Path(command.argv[0]).name
        self._log = log
        self._stop_s = stop_s
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command.argv,
                cwd=command.folder,
                env={**os.environ, **command.variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the benchmark, which ends its programs itself.
                start_new_session=True,
            )
        if cores:
            os.sched_setaffinity(self._process.pid, cores)

    @property
    def pids(self) -> list[int]:
        """Its own pid, then those of its children and their children."""
        return family(self._process.pid)

    def check(self) -> None:
        """Raises `Failed` when it has ended."""
        code = self._process.poll()
        if code is not None:
            raise Failed(f"{self.name} ended with code {code}: {self.tail()}")

    def tail(self) -> str:
        """The end of its output."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it wrote nothing"

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left of the family when that does not help."""
        pids = self.pids
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            pass
        for pid in pids:
            _kill(pid, self._process.pid)
        self._process.wait()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _kill(pid: int, leader: int) -> None:
    """End a process of this leader's session, if it is still there; a pid that was given to somebody else is left alone."""
    try:
        if os.getsid(pid) == leader:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def family(pid: int) -> list[int]:
    """The pid, then the pids of all that descend from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _text(task).split():
            found += family(int(child))
    return found


def _text(file: Path) -> str:
    """What is in a file of /proc; nothing once its thread has ended."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_s(programs: Iterable[Program]) -> float:
    """CPU time that the programs have used so far, in user and system mode, to the nanosecond."""
    return sum(process_cpu_s(pid) for program in programs for pid in program.pids)


def process_cpu_s(pid: int) -> float:
    """CPU time of one process; 0 when it is gone."""
    try:
        # The clock of a process, as clock_getcpuclockid(3) makes it from a pid; /proc only counts in ticks of 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def resident_kib(programs: Iterable[Program]) -> int:
    """Resident memory of the programs, in KiB."""
    total = 0
    for program in programs:
        for pid in program.pids:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def listens(port: int) -> bool:
    """Whether somebody takes connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(
    condition: Callable[[], bool],
    what: str,
    programs: Iterable[Program] = (),
    limit_s: float = START_S,
    pause_s: float = 0.02,
) -> None:
    """Returns when the condition holds. Raises `Failed` when it does not in time, or when a program has ended."""
    deadline = time.monotonic() + limit_s
    while not condition():
        for program in programs:
            program.check()
        if time.monotonic() > deadline:
            raise Failed(f"waited {limit_s:g} s for {what}")
        time.sleep(pause_s)
