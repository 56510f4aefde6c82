"""The load client, driven: see load/wsload.c for what it does and says."""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.load import Load
from bench.paths import LOAD_CLIENT
from bench.programs import Failed

#: The path of a topic on nchan.
PLAIN_PATH = "/sub/wf_%d"

#: Most seconds until a command is obeyed.
COMMAND_S = 30.0


class LoadClient:
    """One process with all clients of a run. Used as a context, it is ended on the way out."""

    def __init__(
        self,
        load: Load,
        port: int,
        errors: Path,
        *,
        plain: bool = False,
        hold: bool = False,
        cores: Iterable[int] = (),
        program: Path = LOAD_CLIENT,
    ) -> None:
        self._errors = errors
        with errors.open("ab") as output:
            self._process = subprocess.Popen(
                [str(program), *arguments(load, port, plain=plain, hold=hold)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        if cores:
            os.sched_setaffinity(self._process.pid, cores)
        self._pending = b""

    def send(self, command: str) -> None:
        """One command line."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"the load client ended: {self.tail()}") from None

    def count(self, wanted: int) -> None:
        """Count from zero what is published once this returns; the report comes when so many events have been delivered."""
        self._obey(f"count {wanted}", "counting")

    def receive(self, phase: str, limit_s: float) -> dict[str, Any] | None:
        """The next report, which must be of this phase; None when it does not come in time. Raises `Failed`."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return None
            received = os.read(self._process.stdout.fileno(), 65_536)
            if not received:
                raise Failed(f"the load client ended: {self.tail()}")
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\n")
        report: dict[str, Any] = json.loads(line)
        if report["phase"] != phase:
            raise Failed(f"the load client reported {report['phase']} instead of {phase}")
        return report

    def expect(self, phase: str, limit_s: float) -> dict[str, Any]:
        """As `receive`; a report that does not come in time is a failure, and so is a client that failed."""
        report = self.receive(phase, limit_s)
        if report is None:
            so_far = f": {self._obey('report', 'counted')}" if phase == "counted" else ""
            raise Failed(f"not all clients {phase} within {limit_s:g} s{so_far} {self.tail()}".strip())
        if report["failed"]:
            raise Failed(f"{report['failed']} clients failed: {self.tail()}")
        return report

    def _obey(self, command: str, phase: str) -> dict[str, Any]:
        """What it reports at once when it is told this. Raises `Failed`."""
        self.send(command)
        report = self.receive(phase, COMMAND_S)
        if report is None:
            raise Failed(f"the load client does not obey: {self.tail()}")
        return report

    def tail(self) -> str:
        """The end of what it complained of."""
        return " / ".join(self._errors.read_text(errors="replace").strip().splitlines()[-3:])

    def stop(self) -> None:
        """The end of its input is its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> "LoadClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def arguments(load: Load, port: int, *, plain: bool, hold: bool) -> list[str]:
    """The command line, without the program's name."""
    return [
        *("--port", str(port)),
        *("--clients", str(load.clients)),
        *("--topics", str(load.topics)),
        *("--each", str(load.each)),
        *("--kinds", ",".join(load.kinds)),
        *("--window", str(load.window)),
        *("--replay", str(load.replay)),
        *(("--plain", PLAIN_PATH) if plain else ()),
        *(("--hold",) if hold else ()),
    ]
