"""The processes of a soak: one Redis, servers, relays; and what faults do to them."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from redis import exceptions as errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from events.conf import EventsConfig
from events.redis_link import Keys
from events.soak.plan import SoakFailed, SoakPlan

#: How long a process may take to start on a busy machine, and to end when asked to.
START_S: Final = 60.0
STOP_S: Final = 5.0

POLL_S: Final = 0.05


class Child:
    """One process. Its output goes to a file; it has a process group of its own, so that Ctrl-C reaches the soak alone."""

    def __init__(self, name: str, argv: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._argv = argv
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False

    @property
    def pid(self) -> int:
        """0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        self._ending = False
        output: IO[bytes]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                self._argv,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises `SoakFailed` when it has ended by itself."""
        code = self._process.poll() if self._process is not None and not self._ending else None
        if code is not None:
            raise SoakFailed(f"{self.name} ended by itself with code {code}. The end of its output:\n{self._tail()}")

    def finished(self) -> bool:
        """Whether it has done its work and ended. Raises `SoakFailed` when it ended in another way."""
        if self._process is not None and self._process.poll() == 0:
            return True
        self.check()
        return False

    def send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    async def end(self, number: signal.Signals, patience_s: float = STOP_S) -> None:
        """Signal it, and return when it has ended; one that does not end within `patience_s` is killed."""
        process = self._process
        if process is None:
            return
        self._ending = True
        # A frozen process would not see the request to end.
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + patience_s
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
            await asyncio.sleep(POLL_S)
        self._process = None

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-10:])


class System:
    """Redis with AOF, servers and relays, on free ports of this machine; data and output in `folder`."""

    def __init__(self, plan: SoakPlan, manage: Path, folder: Path, inherited: Mapping[str, str]) -> None:
        self.redis_port, *self.ports = _free_ports(1 + plan.servers)
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self.config = EventsConfig(redis_url=self.redis_url)
        environment = {**inherited, **_environment(plan, self.redis_url, folder)}
        command = (sys.executable, str(manage))
        self._folder = folder
        self.redis = Child("redis", _redis_command(self.redis_port, folder), folder)
        self.servers = [
            Child(f"server-{place}", (*command, "serve", "--host", "127.0.0.1", "--port", str(port)), folder, environment)
            for place, port in enumerate(self.ports)
        ]
        self.relays = [Child(f"relay-{place}", (*command, "runbus"), folder, environment) for place in range(plan.relays)]

    @property
    def children(self) -> list[Child]:
        return [self.redis, *self.servers, *self.relays]

    async def start(self) -> None:
        """Returns when Redis and every server answer, and a relay leads."""
        self.redis.start()
        await self.redis_ready()
        for child in (*self.servers, *self.relays):
            child.start()
        for server in self.servers:
            await self.server_ready(server)
        await self._until("a relay to lead", self._leads, self.relays)

    async def stop(self) -> None:
        """End everything, whatever state it is in."""
        # At once: who would reconnect is gone.
        await asyncio.gather(*(child.end(signal.SIGINT) for child in (*self.servers, *self.relays)))
        await self.redis.end(signal.SIGTERM)

    def check(self) -> None:
        """Raises `SoakFailed` when a process has ended that nobody ended."""
        for child in self.children:
            child.check()

    async def redis_ready(self) -> None:
        """Returns when Redis serves."""

        async def serves() -> bool:
            return await self.ask("PING") is not None

        await self._until("Redis to answer", serves, [self.redis])

    async def server_ready(self, server: Child) -> None:
        """Returns when the server accepts connections."""
        port = self.ports[self.servers.index(server)]

        async def listens() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await self._until(f"{server.name} to listen", listens, [server])

    async def leader(self) -> Child | None:
        """The relay that holds the lease."""
        owner = await self.ask("GET", Keys(self.config.redis_prefix, self.config.bus_name).lease)
        if not isinstance(owner, bytes):
            return None
        # Owners are named host:pid:token.
        pid = owner.decode().rsplit(":", 2)[1]
        return next((relay for relay in self.relays if str(relay.pid) == pid), None)

    def aof_sizes(self) -> dict[Path, int]:
        """The files that Redis appends to, and how long they are."""
        return {file: file.stat().st_size for file in (self._folder / "appendonlydir").glob("*.incr.aof")}

    async def ask(self, *command: Any) -> Any:
        """The answer of Redis to one command, on a connection of its own; None when it does not answer."""
        redis = Redis(port=self.redis_port, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=2)
        execute: Any = redis.execute_command
        try:
            return await execute(*command)
        except (errors.RedisError, OSError):
            return None
        finally:
            with contextlib.suppress(errors.RedisError, OSError):
                await redis.aclose()

    async def _leads(self) -> bool:
        return await self.leader() is not None

    async def _until(self, what: str, holds: Callable[[], Awaitable[bool]], children: Sequence[Child]) -> None:
        deadline = time.monotonic() + START_S
        while not await holds():
            for child in children:
                child.check()
            if time.monotonic() > deadline:
                raise SoakFailed(f"Waited {START_S:g} s for {what}. The output is in {self._folder} (see --keep).")
            await asyncio.sleep(POLL_S)


def _environment(plan: SoakPlan, redis_url: str, folder: Path) -> dict[str, str]:
    """The defaults of all settings, whatever the shell and the project's `.env` say; an empty value is one that is not set."""
    return {
        "ENV_FILE": "",
        "ENV": "development",
        "REDIS_URL": redis_url,
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "WS_CLIENT_BUFFER_BYTES": str(plan.client_buffer or ""),
        "WS_DRAIN_S": str(plan.drain_s),
        "LOG_FORMAT": "json",
    }


def _redis_command(port: int, folder: Path) -> list[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise SoakFailed(
            "redis-server is not installed, and the soak runs one of its own. Install it (Debian: apt install redis-server)."
        )
    persistence = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
    return [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--daemonize", "no", *persistence]


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    with contextlib.ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]
