"""The servers that the documentation's commands and snippets talk to."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.conftest import ROOT
from tests.redis_server import RedisServer
from tests.system.stack import DEADLINE_S, Server, Stack, await_condition
from wsproject.settings import env

#: The token that the pages write where a reader writes his own.
TOKEN: Final = "YOUR_TOKEN"

#: What a checkout has that is needed to run it.
PARTS: Final = ("Makefile", "manage.py", ".env.example", "package.json", "package-lock.json", ".npmrc", "requirements.txt")
FOLDERS: Final = ("clients", "events", "monitoring", "wsproject", "static", "templates", "examples", "scripts", "deploy")


@dataclass
class Place:
    """Where a command or a snippet runs: a server, and the Redis behind it if there is one."""

    server: Server
    stack: Stack
    token: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    def localize(self, text: str) -> str:
        """A text of the documentation with this place's addresses."""
        text = text.replace("localhost:8001", f"127.0.0.1:{self.server.port}")
        if self.stack.redis is not None:
            text = text.replace("localhost:6379", f"127.0.0.1:{self.stack.redis.port}")
            text = text.replace("redis-cli", f"redis-cli -e -p {self.stack.redis.port}")
        return text

    def subscriber(self) -> "Subscriber":
        """A client that gets every event from now on."""
        return Subscriber(self)


class Subscriber:
    """A client on a plain WebSocket."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection = connect(f"{place.server.ws_url}/ws/events", close_timeout=DEADLINE_S, max_queue=None)
        self._socket: ClientConnection
        self.greeting: Any = None

    def __enter__(self) -> Self:
        self._socket = self._connection.__enter__()
        self.greeting = self.until("connected")
        if self._place.token:
            self.ask("authenticate", {"token": self._place.token}, "auth_response")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.__exit__(kind, error, trace)

    def ask(self, command: str, data: Any, answer: str) -> Any:
        """Send a command and return the body of the first event of this name."""
        self._socket.send(json.dumps({"event": command, "data": data}))
        return self.until(answer)

    def listen(self) -> Self:
        """Subscribe to everything; what happened before is passed over."""
        self._socket.send(json.dumps({"event": "subscribe_all_bots", "id": "listening"}))
        self.until("ack")
        return self

    def send(self, message: Any) -> None:
        self._socket.send(json.dumps(message))

    def until(self, name: str) -> Any:
        """The body of the next event of this name; others are passed over."""
        while True:
            message = json.loads(self._socket.recv(DEADLINE_S))
            if message["event"] == name:
                return message["data"]


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server without Redis and without authentication."""
    with Stack(tmp_path_factory.mktemp("embedded"), LOG_FORMAT="json") as stack:
        yield Place(stack.serve(), stack)


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that wants a token."""
    with Stack(tmp_path_factory.mktemp("secured"), WS_AUTH_TOKEN=TOKEN) as stack:
        yield Place(stack.serve(), stack, TOKEN)


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server and a relay on a Redis of their own."""
    with RedisServer() as redis, Stack(tmp_path_factory.mktemp("deployed"), redis) as stack:
        server = stack.serve(wait=False)
        stack.runbus()
        server.await_health()

        def heard() -> bool:
            return bool(redis.command("PUBSUB", "NUMSUB", "workflow_events")[1] == 1)

        await_condition(heard, lambda: "the relay hears the channel")
        yield Place(server, stack, variables={"REDIS_URL": redis.url, "WS_REDIS_PREFIX": stack.prefix})


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, so that what commands write goes nowhere else. Packages are those of this one."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in PARTS:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".venv", "node_modules"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="session")
def plain_environment() -> dict[str, str]:
    """The environment of this process without any setting; `python` is the project's."""
    inherited = {name: value for name, value in os.environ.items() if name not in env.names}
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    return {**inherited, "PATH": path, "ENV_FILE": "", "WS_HOST": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
