"""A private Redis for tests: started on a free port, and stopped, killed, frozen or restarted as a test needs it."""

import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import redis
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

#: Generous, because test machines are busy; nothing waits for it unless something is wrong.
DEADLINE_S = 20.0

#: Below those that the kernel gives to connections, and to whoever asks for any port.
PORTS: Final = range(10_000, 32_000)

_claims: list[socket.socket] = []


class RedisServer:
    """One redis-server process on 127.0.0.1.

    Keeps nothing on disk unless the options say so, for example `RedisServer("--appendonly", "yes")`. The port and the folder
    stay the same over restarts.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self, *options: str, loaded: bool = True) -> Self:
        """Returns when the server answers and, unless `loaded` is False, has loaded its data. `options` are for this time."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name, "--daemonize", "no"]
        self._process = subprocess.Popen(
            ["redis-server", *arguments, "--save", "", "--appendonly", "no", *self._options, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await_answer(loaded)
        return self

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start; what was not kept on disk is lost."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open, and nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def command(self, *command: Any) -> Any:
        """Run one command on a connection of its own."""
        with redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0), protocol=2) as client:
            return client.execute_command(*command)

    def close(self) -> None:
        """Stop it if it runs, and remove its folder."""
        if self._process is not None:
            # A frozen process would not see the request to end.
            self.resume()
            self.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise RuntimeError("this redis-server does not run")
        return self._process

    def _end(self, how: signal.Signals) -> None:
        process = self._running()
        process.send_signal(how)
        process.wait(DEADLINE_S)
        self._process = None

    def _await_answer(self, loaded: bool) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            code = self._running().poll()
            if code is not None:
                raise RuntimeError(f"redis-server ended at once with code {code}")
            try:
                self.command("PING")
                return
            except redis.ConnectionError as error:
                if isinstance(error, redis.BusyLoadingError) and not loaded:
                    return
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on, and that is the caller's until this process ends."""
    while True:
        port = PORTS.start + secrets.randbelow(len(PORTS))
        # Other tests may look for one before somebody listens. This name goes with the process, whatever ends it.
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0port-of-a-test-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
        else:
            _claims.append(claim)
            return port


@asynccontextmanager
async def published(port: int, pattern: str) -> AsyncIterator[list[tuple[str, bytes]]]:
    """Channel and message of each that is published meanwhile."""
    heard: list[tuple[str, bytes]] = []
    async with Redis(port=port) as client, client.pubsub() as pubsub:
        await pubsub.psubscribe(pattern)
        await pubsub.get_message(timeout=5)
        yield heard
        await client.publish(pattern.replace("*", "end"), b"")
        while message := await pubsub.get_message(ignore_subscribe_messages=True, timeout=5):
            if message["channel"].endswith(b"end"):
                break
            heard.append((message["channel"].decode(), message["data"]))
