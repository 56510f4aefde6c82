"""Subscribers of the Python client that write down everything they get, in a thread each."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from tests.system.stack import await_condition
from workflow_events import AsyncClient, Client, Event, Item, Missed, Position, Snapshot

KINDS: Final = ("async", "sync")


class Collector:
    """A subscription of one kind, from its start to the end of the context."""

    def __init__(self, kind: str, url: str, client: dict[str, Any] | None = None, **subscription: Any) -> None:
        self.items: list[Item] = []
        self.error: Exception | None = None
        self.position: Position = {}
        self._url = url
        self._client = client or {}
        self._subscription = subscription
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run_async if kind == "async" else self._run_sync, name=f"collector-{kind}")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [dict(item.fields) for item in list(self.items) if isinstance(item, Event)]

    def all(self, kind: type[Item]) -> list[Any]:
        """All items of one class so far."""
        return [item for item in list(self.items) if isinstance(item, kind)]

    @property
    def missed(self) -> list[Missed]:
        return self.all(Missed)

    @property
    def snapshots(self) -> list[Snapshot]:
        return self.all(Snapshot)

    def wait(self, kind: type[Item], count: int = 1) -> None:
        """Returns when there are so many items of a class."""
        await_condition(
            lambda: len(self.all(kind)) >= count or self.error is not None,
            lambda: f"{count} {kind.__name__}: there are {len(self.all(kind))}; last {str(self.items[-3:])[:2_000]}",
        )
        if self.error is not None:
            raise self.error

    def wait_for_end(self) -> Exception | None:
        """The error that ended it."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()
        self.wait_for_end()

    def _run_sync(self) -> None:
        subscription = Client(self._url, **self._client).subscribe(**self._subscription)
        self._stop = subscription.close
        try:
            for item in subscription.items():
                self.items.append(item)
                self.position = subscription.position
        except Exception as error:
            self.error = error

    def _run_async(self) -> None:
        asyncio.run(self._collect())

    async def _collect(self) -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        self._stop = lambda: loop.is_closed() or loop.call_soon_threadsafe(task.cancel)
        subscription = AsyncClient(self._url, **self._client).subscribe(**self._subscription)
        try:
            async with subscription:
                async for item in subscription.items():
                    self.items.append(item)
                    self.position = subscription.position
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self.error = error
