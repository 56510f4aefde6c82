"""Runs of workflows as contexts, which emit the guide's events with their timings and failures."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from workflow_events.errors import InvalidEvent

log = logging.getLogger("workflow_events")

Emit = Callable[[Mapping[str, Any]], None]

#: Ways to leave a context that are no failure of what was done in it.
_CANCELLED: Final = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


class _Timed:
    """A context, for `with` and for `async with`, that knows how long it takes. Emitting waits for nothing, so both are one."""

    _began = 0.0

    def _start(self) -> None:
        raise NotImplementedError

    def _end(self, error: BaseException | None) -> None:
        raise NotImplementedError

    @property
    def _duration_ms(self) -> int:
        return round((time.perf_counter() - self._began) * 1000)

    def __enter__(self) -> Self:
        self._began = time.perf_counter()
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)


class Execution(_Timed):
    """One run. As a context it emits `execution_started` and `execution_completed`. An exception makes its status `failed` or
    `cancelled`, adds `error` and `error_type`, and goes on to the caller.

    results: what `execution_completed` tells; to be filled in on the way
    """

    def __init__(
        self,
        emit: Emit,
        workflow_id: str,
        *,
        bot_id: str | None,
        strategy_id: str | None,
        execution_id: str | None,
        node_count: int | None,
    ) -> None:
        self.workflow_id = workflow_id
        self.execution_id = execution_id or f"exec_{workflow_id}_{secrets.token_hex(4)}"
        self.bot_id = bot_id
        self.strategy_id = strategy_id
        self.results: dict[str, Any] = {}
        self._emit = emit
        self._node_count = node_count

    def node(self, node_id: str, *, name: str | None = None, category: str | None = None) -> "Node":
        """One node of the run, as a context: `with run.node("price_binance") as node:`. Nodes may overlap."""
        return Node(self, node_id, name, category)

    def emit(self, type: str, **fields: Any) -> None:  # noqa: A002 - the field's name
        """An event of this run, of any type. Raises `InvalidEvent`."""
        ids = {"execution_id": self.execution_id, "workflow_id": self.workflow_id}
        optional = {"bot_id": self.bot_id, "strategy_id": self.strategy_id}
        self._emit({"type": type, **ids, **{name: value for name, value in optional.items() if value}, **fields})

    def emit_without_fail(self, type: str, bulky: str, **fields: Any) -> None:  # noqa: A002
        """An event that a run cannot do without: when it is refused with the field `bulky`, it is emitted with that empty."""
        try:
            self.emit(type, **fields)
        except InvalidEvent as error:
            log.error("%s of %s is left out of %s: %s", bulky, self.execution_id, type, error)
            self.emit(type, **{**fields, bulky: {}})

    def _start(self) -> None:
        self.emit("execution_started", **({} if self._node_count is None else {"node_count": self._node_count}))

    def _end(self, error: BaseException | None) -> None:
        failure = {} if error is None else _described(error)
        status = "completed" if error is None else "cancelled" if isinstance(error, _CANCELLED) else "failed"
        self.emit_without_fail(
            "execution_completed", "results", duration_ms=self._duration_ms, status=status, results=self.results, **failure
        )


class Node(_Timed):
    """One node. As a context it emits `node_started`, then `node_completed`, or `node_failed` for an exception.

    outputs: what `node_completed` tells; to be filled in on the way
    """

    def __init__(self, run: Execution, node_id: str, name: str | None, category: str | None) -> None:
        self.node_id = node_id
        self.outputs: dict[str, Any] = {}
        self._run = run
        self._names = {key: value for key, value in (("node_name", name), ("node_category", category)) if value is not None}

    def _start(self) -> None:
        self._run.emit("node_started", node_id=self.node_id, **self._names)

    def _end(self, error: BaseException | None) -> None:
        common = {"node_id": self.node_id, "duration_ms": self._duration_ms}
        if error is not None:
            self._run.emit("node_failed", **common, **_described(error))
        else:
            self._run.emit_without_fail("node_completed", "outputs", **common, status="success", outputs=self.outputs)


def _described(error: BaseException) -> dict[str, str]:
    """What events tell of an exception; a message is cut where the server's states would cut it."""
    return {"error": str(error)[:1000] or type(error).__name__, "error_type": type(error).__name__}
