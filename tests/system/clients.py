"""The real clients behind one face: socket.io-client in Node, python-socketio, and a plain WebSocket."""

import asyncio
import itertools
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import pytest
import socketio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.system.stack import DEADLINE_S, ROOT

CLIENT_PROGRAM: Final = Path(__file__).with_name("client.mjs")

#: What a client is asked to use, by the last word of a kind such as `node-polling`.
TRANSPORTS: Final = {"websocket": ["websocket"], "polling": ["polling"], "default": ["polling", "websocket"]}

KINDS: Final = [*(f"{library}-{transport}" for library in ("node", "python") for transport in TRANSPORTS), "plain"]

#: Where they differ only in the library's code, one of each transport is enough.
ONE_OF_EACH: Final = ["node-default", "python-polling", "plain"]


async def until(condition: Callable[[], object], what: Callable[[], object] | str) -> None:
    """Returns as soon as `condition()` holds; fails with what was waited for when it does not in time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {DEADLINE_S:g} s: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(0.01)


class Client(Protocol):
    """One connected client.

    received: every event of the server with its data, in order of arrival
    transport: what the client says it uses now: `websocket`, `polling` or `plain`
    closed:   reason why the connection ended; empty while it lasts
    """

    received: list[tuple[str, Any]]
    closed: str

    @property
    def transport(self) -> str: ...

    async def emit(self, name: str, *args: Any) -> None: ...

    async def call(self, name: str, *args: Any) -> Any:
        """Emit with a callback, and wait for what it is called with."""

    async def close(self) -> None: ...


class Recorder:
    """What the three have in common: looking through what came."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self.closed = ""

    def all(self, name: str) -> list[Any]:
        """The data of all events of this name so far."""
        return [data for received, data in list(self.received) if received == name]

    async def wait(self, name: str, count: int = 1) -> Any:
        """The data of the event of this name that comes as number `count` on this connection."""
        await until(
            lambda: len(self.all(name)) >= count, lambda: f"{name} number {count}; last came {str(self.received)[-1_000:]}"
        )
        return self.all(name)[count - 1]

    async def wait_closed(self) -> str:
        await until(lambda: self.closed, "the end of the connection")
        return self.closed


# -- Node --------------------------------------------------------------------------------------------------------------


class NodeHost:
    """The Node program: hosts any number of clients. A thread reads its reports."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.fail("These tests need Node.js for the browser's Socket.IO client: install node 18 or newer.")
        if not (ROOT / "node_modules" / "socket.io-client").is_dir():
            pytest.fail("These tests need the package socket.io-client: run `make install`.")
        self.clients: dict[str, NodeClient] = {}
        self._numbers = itertools.count()
        self._process = subprocess.Popen(
            [node, str(CLIENT_PROGRAM)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="node-client", daemon=True)
        self._reader.start()

    def new_id(self) -> str:
        return str(next(self._numbers))

    def tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            report = json.loads(line)
            client = self.clients.get(report["id"])
            if client is not None:
                client.take(report)


class NodeClient(Recorder):
    """A client in the Node program. It reconnects by itself, as in a browser, unless `options` say otherwise."""

    def __init__(self, host: NodeHost) -> None:
        super().__init__()
        self._host = host
        self._id = host.new_id()
        self._answers: dict[int, list[Any]] = {}
        self._acks = itertools.count()
        self.transport = ""
        self.sid = ""
        self.connects = 0
        self.refused = ""
        host.clients[self._id] = self

    async def connect(self, url: str, namespace: str = "/", **options: Any) -> "NodeClient":
        self._host.tell(do="connect", id=self._id, url=url, namespace=namespace, options=options)
        await until(lambda: self.connects or self.refused, f"the connection to {url}")
        return self

    async def emit(self, name: str, *args: Any) -> None:
        self._host.tell(do="emit", id=self._id, name=name, args=args)

    async def call(self, name: str, *args: Any) -> Any:
        number = next(self._acks)
        self._host.tell(do="emit", id=self._id, name=name, args=args, ack=number)
        await until(lambda: number in self._answers, f"the answer to {name}")
        return self._answers[number][0]

    async def close(self) -> None:
        self._host.tell(do="disconnect", id=self._id)

    def take(self, report: dict[str, Any]) -> None:
        """A report of the program, on its reader's thread."""
        match report["kind"]:
            case "event":
                self.received.append((report["event"], report["args"][0] if report["args"] else None))
            case "connect":
                self.closed, self.transport, self.sid = "", report["transport"], report["sid"]
                self.connects += 1
            case "upgrade":
                self.transport = report["transport"]
            case "disconnect":
                self.closed = report["reason"]
            case "connect_error":
                self.refused = report["message"]
            case "ack":
                self._answers[report["ack"]] = report["args"]


# -- python-socketio ---------------------------------------------------------------------------------------------------


class PythonClient(Recorder):
    """python-socketio's asyncio client."""

    def __init__(self) -> None:
        super().__init__()
        self._http: aiohttp.ClientSession | None = None
        self._client: Any = None

    async def connect(self, url: str, **options: Any) -> "PythonClient":
        self._http = aiohttp.ClientSession()
        self._client = socketio.AsyncClient(http_session=self._http, reconnection=False)
        self._client.on("*", self._take)
        self._client.on("disconnect", self._end)
        await self._client.connect(url, wait_timeout=DEADLINE_S, **options)
        return self

    @property
    def transport(self) -> str:
        return str(self._client.transport())

    @property
    def sid(self) -> str:
        return str(self._client.get_sid())

    async def emit(self, name: str, *args: Any) -> None:
        # A tuple is a list of arguments; a bare None would be left out.
        await self._client.emit(name, _with_bytes(args))

    async def call(self, name: str, *args: Any) -> Any:
        return await self._client.call(name, _with_bytes(args), timeout=DEADLINE_S)

    async def close(self) -> None:
        assert self._http is not None
        await self._client.disconnect()
        await self._http.close()

    async def _take(self, name: str, *args: Any) -> None:
        self.received.append((name, args[0] if args else None))

    async def _end(self, reason: str = "") -> None:
        self.closed = reason or "disconnected"


def _with_bytes(value: Any) -> Any:
    """`{"$binary": "00ff"}` as the bytes that it stands for."""
    if isinstance(value, dict):
        if "$binary" in value:
            return bytes.fromhex(value["$binary"])
        return {key: _with_bytes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_bytes(item) for item in value)
    return value


# -- plain -------------------------------------------------------------------------------------------------------------


class PlainClient(Recorder):
    """A WebSocket that speaks JSON."""

    transport = "plain"

    def __init__(self) -> None:
        super().__init__()
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: dict[int, Any] = {}
        self._ids = itertools.count(1)
        self.code = 0

    async def connect(self, ws_url: str, **options: Any) -> "PlainClient":
        """`options` are those of `websockets`, such as `user_agent_header`."""
        self._socket = await connect(f"{ws_url}/ws/events", max_size=None, open_timeout=DEADLINE_S, **options)
        self._reader = asyncio.create_task(self._read(self._socket))
        return self

    @property
    def sid(self) -> str:
        return str(self.all("connected")[0]["sid"])

    async def emit(self, name: str, *args: Any) -> None:
        await self.send({"event": name, **({"data": args[0]} if args else {})})

    async def call(self, name: str, *args: Any) -> Any:
        number = next(self._ids)
        await self.send({"event": name, "id": number, **({"data": args[0]} if args else {})})
        await until(lambda: number in self._answers, f"the answer to {name}")
        return self._answers[number]

    async def send(self, message: Any) -> None:
        """Anything as JSON; text and bytes as they are."""
        assert self._socket is not None
        await self._socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def close(self) -> None:
        assert self._socket is not None
        assert self._reader is not None
        await self._socket.close()
        await self._reader

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                message = json.loads(text)
                assert set(message) == {"event", "data"}
                if message["event"] == "ack":
                    self._answers[message["data"]["id"]] = message["data"]["data"]
                else:
                    self.received.append((message["event"], message["data"]))
        except ConnectionClosed:
            pass
        self.code = socket.close_code or 0
        self.closed = socket.close_reason or f"closed with {self.code}"
