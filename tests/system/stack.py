"""Real processes: servers and relays as an operator starts them, a private Redis behind them, and their logs."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from tests.redis_server import RedisServer, free_port
from tests.system.forked import Forked
from wsproject.settings import env

ROOT: Final = Path(__file__).resolve().parent.parent.parent

#: Generous, because test machines are busy; nothing waits for it unless something is wrong.
DEADLINE_S: Final = 30.0

#: What no log may have.
TRACEBACK: Final = "Traceback"


class Process(Protocol):
    """What a program needs of its process, see `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...

    def send_signal(self, sig: signal.Signals, /) -> None: ...


Start = Callable[[list[str], dict[str, str], Path], Process]


def started(argv: list[str], variables: dict[str, str], log: Path, folder: Path = ROOT) -> subprocess.Popen[bytes]:
    """Any program, as a shell starts it."""
    with log.open("wb") as output:
        return subprocess.Popen(
            argv,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def forked(argv: list[str], variables: dict[str, str], log: Path) -> Process:
    """A Python program, in a quarter of the time."""
    return Forked(argv[1:], variables, ROOT, log)


class Program:
    """One process: its output in a file, and its end by its pid alone.

    start: how it comes to be
    """

    def __init__(self, argv: list[str], variables: dict[str, str], log: Path, start: Start = started) -> None:
        self.argv = argv
        #: The line before a traceback that is not ours to prevent.
        self.tolerated = TRACEBACK
        self._log = log
        log.touch()
        self._process = start(argv, variables, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything that it has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs, minus the signal's number when a signal ended it."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        if self.code is None:
            self._process.send_signal(number)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """The exit code, once it has ended. Raises `subprocess.TimeoutExpired`."""
        return self._process.wait(deadline_s)

    def kill(self) -> None:
        """End it as a crash would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def kill_group(self) -> None:
        """End it and what it has started."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """End it as an operator would."""
        self.signal(signal.SIGTERM)
        return self.await_end()

    def await_end(self) -> int:
        """The exit code of a process that was told to end; one that does not obey is killed and is an error."""
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.argv} did not end by SIGTERM.\n{self.log}") from None

    def await_log(self, *texts: str) -> None:
        """Returns when the log has a line with these texts."""
        await_condition(
            lambda: any(all(text in line for text in texts) for line in self.log.splitlines()),
            lambda: f"a line with {texts!r} in the log of {self.argv}:\n{self.log}",
        )


class Server(Program):
    """A process that serves HTTP on 127.0.0.1."""

    def __init__(self, argv: list[str], variables: dict[str, str], log: Path, port: int) -> None:
        super().__init__(argv, variables, log, forked)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}"

    def await_health(self) -> None:
        """Returns when `/health` says 200."""

        def healthy() -> bool:
            if self.code is not None:
                raise AssertionError(f"{self.argv} ended with code {self.code}.\n{self.log}")
            return request(f"{self.url}/health")[0] == 200

        await_condition(healthy, lambda: f"health of {self.argv}: {request(self.url + '/health')}\n{self.log}")

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        return request(self.url + path)

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[1])

    def publish(self, *events: dict[str, Any], token: str = "") -> tuple[int, Any]:
        """`POST /api/events/`: status and answer."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        status, body = request(f"{self.url}/api/events/", json.dumps(list(events)).encode(), headers)
        return status, json.loads(body)


class Stack:
    """What one deployment runs. Left as a context, it ends everything and looks through the logs.

    folder: for the database and the logs
    redis:  the Redis that all of it uses; None for the embedded server

    Keyword arguments of the methods are environment variables of the process.
    """

    def __init__(self, folder: Path, redis: RedisServer | None = None, **variables: str) -> None:
        self.redis = redis
        self.programs: list[Program] = []
        self._folder = folder
        known = {*env.names, "ENV_FILE"}
        inherited = {name: value for name, value in os.environ.items() if name not in known}
        self._variables = {
            **inherited,
            "ENV_FILE": "",
            "DEMO": "0",
            "DATABASE_URL": f"sqlite:///{folder / 'database.sqlite3'}",
            "WS_REDIS_PREFIX": f"system-{secrets.token_hex(6)}",
            "PYTHONUNBUFFERED": "1",
            **({"REDIS_URL": redis.url} if redis is not None else {}),
            **variables,
        }

    @property
    def prefix(self) -> str:
        return self._variables["WS_REDIS_PREFIX"]

    # -- processes ------------------------------------------------------------------------------------------------------

    def run(self, *argv: str, **variables: str) -> Program:
        """Any Python program of the project, by the arguments of the interpreter."""
        start = started if argv[0] == "-c" else forked
        program = Program([sys.executable, *argv], self._environment(variables), self._new_log(), start)
        self.programs.append(program)
        return program

    def manage(self, *argv: str, **variables: str) -> Program:
        return self.run("manage.py", *argv, **variables)

    def serve(self, *flags: str, wait: bool = True, port: int | None = None, **variables: str) -> Server:
        port = port or free_port()
        argv = ["manage.py", "serve", "--host", "127.0.0.1", "--port", str(port), *flags]
        return self._server(argv, port, wait, variables)

    def daphne(self, application: str = "wsproject.asgi:application", *, wait: bool = True, **variables: str) -> Server:
        port = free_port()
        argv = ["-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "-v", "0", application]
        return self._server(argv, port, wait, variables)

    def uvicorn(
        self, application: str = "wsproject.asgi:application", *flags: str, wait: bool = True, **variables: str
    ) -> Server:
        port = free_port()
        plain = ["--no-proxy-headers", "--no-access-log"]
        argv = ["-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), *plain, *flags, application]
        return self._server(argv, port, wait, variables)

    def runserver(self, **variables: str) -> Server:
        port = free_port()
        return self._server(["manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"], port, True, variables)

    def runbus(self, *flags: str, **variables: str) -> Program:
        return self.manage("runbus", *flags, **variables)

    def _server(self, argv: list[str], port: int, wait: bool, variables: dict[str, str]) -> Server:
        server = Server([sys.executable, *argv], self._environment(variables), self._new_log(), port)
        self.programs.append(server)
        if wait:
            server.await_health()
        return server

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        return {**self._variables, **variables}

    def _new_log(self) -> Path:
        return self._folder / f"process-{len(self.programs)}.log"

    # -- events ---------------------------------------------------------------------------------------------------------

    def add_to_stream(self, *events: dict[str, Any]) -> None:
        """XADD, as an executor elsewhere does it."""
        assert self.redis is not None
        for event in events:
            self.redis.command("XADD", "workflow_events", "*", "event", json.dumps(event))

    def publish_on_channel(self, *events: dict[str, Any]) -> None:
        """PUBLISH, as executors in the field do it. A relay must be listening."""
        assert self.redis is not None
        for event in events:
            assert self.redis.command("PUBLISH", "workflow_events", json.dumps(event)) == 1

    # -- the end --------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for program in reversed(self.programs):
            program.signal(signal.SIGTERM)
        for program in reversed(self.programs):
            program.await_end()
        self.check_logs()

    def check_logs(self) -> None:
        """Fails when a process has written a traceback."""
        for program in self.programs:
            log = program.log.replace(f"{program.tolerated}\n{TRACEBACK}", program.tolerated)
            before, found, rest = log.partition(TRACEBACK)
            assert not found, f"{program.argv} wrote a traceback:\n{before[-1_000:]}{found}{rest[:5_000]}"


def request(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body; status 0 while nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=DEADLINE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (urllib.error.URLError, ConnectionError) as error:
        return 0, str(error).encode()


def await_condition(condition: Callable[[], bool], describe: Callable[[], str], deadline_s: float = DEADLINE_S) -> None:
    """Returns as soon as `condition()` holds; fails with what was waited for when it does not in time."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {deadline_s:g} s: {describe()}")
        time.sleep(0.02)
