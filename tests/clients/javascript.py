"""The JavaScript client in Node, behind a face for tests."""

import json
import shutil
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

from tests.system.stack import DEADLINE_S, ROOT, await_condition

DRIVER: Final = Path(__file__).with_name("driver.mjs")


class Follower:
    """What one client or one subscription reported, in order: kind and data."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reports: list[tuple[str, Any]] = []

    def all(self, *kinds: str) -> list[Any]:
        return [data for kind, data in list(self.reports) if kind in kinds]

    def wait(self, kind: str, count: int = 1) -> Any:
        """The data of the report of this kind that comes as number `count`."""
        await_condition(
            lambda: len(self.all(kind)) >= count, lambda: f"{kind} number {count} of {self.name}; came {self.reports[-20:]}"
        )
        return self.all(kind)[count - 1]

    def wait_events(self, count: int) -> list[dict[str, Any]]:
        """Events, replayed or live, in the order in which they came."""
        kinds = ("event", "replayed")
        await_condition(
            lambda: len(self.all(*kinds)) >= count,
            lambda: f"{count} events of {self.name}: {len(self.all(*kinds))}; {self.reports[-5:]}",
        )
        return self.all(*kinds)

    def wait_state(self, **fields: Any) -> dict[str, Any]:
        """The newest state, once it has these fields."""

        def holds() -> bool:
            states = self.all("state")
            return bool(states) and fields.items() <= states[-1].items()

        await_condition(holds, lambda: f"{fields} of {self.name}: {self.all('state')[-1:]}")
        found: dict[str, Any] = self.all("state")[-1]
        return found


class JavaScript:
    """A Node process with any number of clients. A thread reads its reports."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.fail("These tests need Node.js: install node 18 or newer.")
        self._followers: dict[str, Follower] = {}
        self._process = subprocess.Popen([node, str(DRIVER)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, name="javascript", daemon=True)
        self._reader.start()

    def connect(self, url: str, **options: Any) -> Follower:
        client = self._follower("client")
        self._tell(do="connect", id=client.name, url=url, options=options)
        return client

    def subscribe(self, client: Follower, to: Any, **options: Any) -> Follower:
        subscription = self._follower("subscription")
        self._tell(do="subscribe", id=client.name, **{"as": subscription.name}, to=to, options=options)
        return subscription

    def call(self, client: Follower, method: str, *args: Any) -> None:
        self._tell(do="call", id=client.name, method=method, args=args)

    def emit(self, client: Follower, name: str, data: Any) -> None:
        self._tell(do="emit", id=client.name, name=name, data=data)

    def end(self, subscription: Follower) -> None:
        self._tell(do="end", **{"as": subscription.name})

    def executions(self, subscription: Follower) -> list[dict[str, Any]]:
        before = len(subscription.all("executions"))
        self._tell(do="executions", **{"as": subscription.name})
        found: list[dict[str, Any]] = subscription.wait("executions", before + 1)
        return found

    def _follower(self, kind: str) -> Follower:
        follower = Follower(f"{kind} {len(self._followers)}")
        self._followers[follower.name] = follower
        return follower

    def _tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            report = json.loads(line)
            self._followers[report["from"]].reports.append((report["kind"], report["data"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        code = self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self._process.stdout.close()
        assert code == 0
