"""Several server processes that share a port, and the parent that owns them."""

import asyncio
import functools
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from events.supervisor import Supervisor

log = structlog.get_logger("events")

#: Pause before a worker that died is started again, doubled with each death in a row up to the second number.
RESTART_S: Final = (0.2, 10.0)

#: A worker that lived for so long is taken as healthy again.
SETTLED_S: Final = 10.0


@dataclass(slots=True)
class WorkerPool:
    """Keeps one worker on each listening socket.

    The parent holds the sockets, so a port never closes: who connects while a worker is being started again waits for it.
    Each worker has the end of a pipe that closes when the parent is gone, however that came about, and ends then.

    command:     starts a worker, given the descriptors of its listening socket and of its end of the pipe
    end_after_s: a worker that was told to end has so long to do it

    SIGTERM and SIGINT are passed on, so that workers let their clients go or end at once as a server alone would. A second
    signal ends them at once.
    """

    listeners: Sequence[socket.socket]
    command: Callable[[int, int], Sequence[str]]
    end_after_s: float
    _tasks: Supervisor = field(default_factory=Supervisor)
    _running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    _told: signal.Signals | None = None
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, announce: Callable[[], None]) -> None:
        """Until SIGTERM or SIGINT. `announce` is called when the workers are being started."""
        for told in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(told, self._tell, told)
        lifeline, held = os.pipe()
        try:
            for number, listener in enumerate(self.listeners):
                self._tasks.start(f"worker-{number}", functools.partial(self._keep, number, listener, lifeline))
            announce()
            await self._ending.wait()
            log.info("workers_ending", workers=len(self.listeners))
            # From now on, nobody new is let in.
            for listener in self.listeners:
                listener.close()
            await self._tasks.stop()
        finally:
            os.close(held)
            os.close(lifeline)

    def _tell(self, told: signal.Signals) -> None:
        if self._told is None:
            self._told = told
            self._ending.set()
            return
        for process in self._running.values():
            if process.returncode is None:
                process.send_signal(signal.SIGINT)

    async def _keep(self, number: int, listener: socket.socket, lifeline: int) -> None:
        """Start one worker, and again when it dies, for ever."""
        pause = RESTART_S[0]
        while True:
            started = time.monotonic()
            process = self._running[number] = await self._start(listener.fileno(), lifeline)
            log.info("worker_started", worker=number, worker_pid=process.pid)
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await self._end(number, process)
                raise
            if time.monotonic() - started > SETTLED_S:
                pause = RESTART_S[0]
            log.error("worker_died", worker=number, worker_pid=process.pid, exit_code=code, restart_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RESTART_S[1])

    async def _start(self, listener: int, lifeline: int) -> asyncio.subprocess.Process:
        # A session of its own, so that Ctrl-C reaches the parent alone, which ends the workers in its own way.
        return await asyncio.create_subprocess_exec(
            *self.command(listener, lifeline), pass_fds=(listener, lifeline), start_new_session=True
        )

    async def _end(self, number: int, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.send_signal(self._told or signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self.end_after_s)
        except TimeoutError:
            log.error("worker_killed", worker=number, worker_pid=process.pid, seconds=self.end_after_s)
            process.kill()
            await process.wait()
