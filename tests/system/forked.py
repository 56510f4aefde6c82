"""Python programs of the project, forked from a process that has loaded the libraries already.

Loading them is three quarters of what a start costs, and the tests start hundreds of programs. Nothing of the project is loaded
in the process that is forked: each program reads its settings and its own code anew. What a plain start does beside that is
seen where the tests run the documentation's commands.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

#: Libraries that need neither settings nor a reactor to be loaded.
LIBRARIES: Final = (
    "OpenSSL.SSL",
    "autobahn.twisted.websocket",
    "channels.generic.websocket",
    "channels_redis.pubsub",
    "cryptography.x509",
    "daphne.http_protocol",
    "django.contrib.admin.widgets",
    "django.core.management",
    "django.core.serializers.json",
    "django.db.models",
    "django.test",
    "django.views.debug",
    "drf_spectacular.utils",
    "jwt",
    "orjson",
    "prometheus_client",
    "redis.asyncio",
    "requests",
    "rich.traceback",
    "structlog",
    "twisted.internet.asyncioreactor",
    "twisted.web.server",
    "whitenoise.middleware",
    "yaml",
)

_context: Final = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(LIBRARIES))


class Forked:
    """What `python ARGV...` would be: of `subprocess.Popen`'s methods those that tests need.

    argv:      the interpreter's arguments, `manage.py serve` or `-m daphne`
    variables: the whole environment
    folder:    where it runs
    """

    def __init__(
        self, argv: list[str], variables: dict[str, str], folder: Path, output: Path, errors: Path | None = None
    ) -> None:
        self._argv = argv
        arguments = (argv, variables, folder, output, errors or output)
        self._process = _context.Process(target=_become, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code; None while it runs, minus the signal's number when a signal ended it."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._argv, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


def _become(argv: list[str], variables: dict[str, str], folder: Path, output: Path, errors: Path) -> None:
    """Be, in a fresh child, the program that the arguments name."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    _connect(output, errors)
    try:
        _run(argv)
    finally:
        # Children of this kind leave without it.
        atexit._run_exitfuncs()


def _connect(output: Path, errors: Path) -> None:
    """Nothing to read, and two files to write to, or one for both."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, path, mode in ((0, Path(os.devnull), os.O_RDONLY), (1, output, flags), (2, errors, flags)):
        opened = os.open(path, mode, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the standard streams stay open
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _run(argv: list[str]) -> None:
    if argv[0] == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = ["-m", *argv[2:]]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(argv[0]).resolve().parent))
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")
