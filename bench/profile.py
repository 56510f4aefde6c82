"""Where the time goes: py-spy watches the server of a case while it is under load."""

import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cases import Case, Measure
from bench.paths import BUILD
from bench.peer import PEERS_BY_NAME
from bench.programs import Failed
from bench.run import MEASURES, Bench

RATE: Final = 500

#: py-spy is at work so long after it was started.
ATTACHED_S: Final = 1.0

#: What is measured of these begins after the clients have connected.
LATER: Final = (Measure.DELIVERY, Measure.REPLAY)

TOP: Final = 30


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples per function: `own` where it was running itself, `total` where it was on the stack."""

    samples: int
    own: Counter[str]
    total: Counter[str]


def profile_case(case: Case, peer: str, role: str, seconds: float, stacks: Path | None = None) -> str:
    """The functions that took most, as text. `role` is `server` or `relay`; collapsed stacks go to `stacks` as well.

    Raises `Failed`.
    """
    kept = stacks or BUILD / "profile.txt"
    with Bench(case.load, PEERS_BY_NAME[peer], case.alone) as bench:
        recording = Recording(bench, role, seconds, kept)
        if case.measure in LATER:
            bench.before_window = recording.start
        else:
            bench.when_started = recording.start
        MEASURES[case.measure](bench, seconds)
        recording.wait()
    return render(parse(kept.read_text(encoding="utf-8", errors="replace")))


class Recording:
    """One py-spy, on the first program of a role."""

    def __init__(self, bench: Bench, role: str, seconds: float, output: Path) -> None:
        self._bench, self._role, self._seconds, self._output = bench, role, seconds, output
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        programs = self._bench.of(self._role)
        if not programs:
            raise Failed(f"this server has no program of the role {self._role}")
        options = ["--rate", str(RATE), "--duration", str(max(1, round(self._seconds))), "--format", "raw", "--threads"]
        argv = [str(BUILD / "venv/bin/py-spy"), "record", *options, "--output", str(self._output)]
        self._process = subprocess.Popen(
            [*argv, "--pid", str(programs[0].pids[0])], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(ATTACHED_S)

    def wait(self) -> None:
        """Raises `Failed` when nothing was recorded."""
        if self._process is None:
            raise Failed("the server was not reached")
        try:
            _, errors = self._process.communicate(timeout=self._seconds + 20)
        finally:
            self._process.kill()
        if self._process.returncode:
            raise Failed(f"py-spy: {errors.decode(errors='replace').strip()}")


def parse(collapsed: str) -> Profile:
    """From lines `thread;frame;frame count`, the outermost frame first. Other threads than the main one wait for work."""
    own, total, samples = Counter[str](), Counter[str](), 0
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if "MainThread" not in thread:
            continue
        samples += int(count)
        own[frames[-1]] += int(count)
        total.update({frame: int(count) for frame in set(frames)})
    return Profile(samples, own, total)


def render(profile: Profile) -> str:
    """The functions that ran most, then those under which most ran."""
    parts = []
    for title, counted in (("own time", profile.own), ("with what they call", profile.total)):
        rows = [f"{100 * count / max(1, profile.samples):6.1f} %  {frame}" for frame, count in counted.most_common(TOP)]
        parts.append("\n".join([f"{title} ({profile.samples} samples)", *rows]))
    return "\n\n".join(parts)
