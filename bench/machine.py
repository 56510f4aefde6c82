"""What the measurements were made on."""

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from bench.paths import BENCH, ROOT


def describe_machine(command_line: str) -> dict[str, str]:
    """Name and value of everything that a reader needs to judge the figures."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": command_line,
        "commit": _first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "cpu": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "node": _first_line("node", "--version"),
        "redis": _first_line("redis-server", "--version"),
        "nginx": _first_line("nginx", "-v"),
        "packages": _packages(),
        "load average": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _first_line(*argv: str) -> str:
    program = shutil.which(argv[0])
    if program is None:
        return "not installed"
    done = subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False)
    return ((done.stdout or done.stderr).strip().splitlines() or ["unknown"])[0]


def _packages() -> str:
    """The versions of the peers and of what they run on."""
    wanted = ("channels", "channels-redis", "daphne", "python-socketio", "uvicorn", "uvloop")
    pinned = [line.split()[0] for line in (BENCH / "requirements.txt").read_text().splitlines() if "==" in line]
    return ", ".join(pin.replace("==", " ") for pin in pinned if pin.partition("==")[0] in wanted)
