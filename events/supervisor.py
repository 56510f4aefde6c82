"""Owned background tasks: each failure is logged, counted and visible, and the task is started again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger("events")

#: Pause before a failed task is started again, doubled with each failure in a row up to the second number.
RESTART_S = (0.1, 5.0)

#: A task that has run for so long is taken as healthy again.
SETTLED_S = 10.0


@dataclass(slots=True)
class TaskState:
    """How one background task fares. One that is about to run for the first time counts as running; `failure` is the last
    failure while it has not run well since."""

    name: str
    running: bool = True
    failures: int = 0
    failure: str = ""


class Supervisor:
    """Runs named coroutines until stopped, restarting each with a growing pause when it fails or returns."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.states: dict[str, TaskState] = {}

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Own `run()` under a name."""
        self.states[name] = TaskState(name)
        self._tasks[name] = asyncio.get_running_loop().create_task(self._keep(self.states[name], run), name=name)

    async def stop(self) -> None:
        """Cancel every task and wait until all have ended."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def unhealthy(self) -> list[TaskState]:
        """The tasks that are not running or have failed lately."""
        return [state for state in self.states.values() if not state.running or state.failure]

    async def _keep(self, state: TaskState, run: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        pause = RESTART_S[0]
        while True:
            started = loop.time()
            state.running = True
            settle = loop.call_later(SETTLED_S, setattr, state, "failure", "")
            try:
                await run()
                reason = "ended without a reason"
                log.error("task_ended", task=state.name)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody cancelled this task: it waited for something else that was cancelled.
                reason = "waited for something that was cancelled"
                log.exception("task_failed", task=state.name)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                log.exception("task_failed", task=state.name)
            finally:
                settle.cancel()
                state.running = False
            state.failures += 1
            state.failure = reason
            if loop.time() - started > SETTLED_S:
                pause = RESTART_S[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, RESTART_S[1])
