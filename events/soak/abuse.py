"""Honest clients next to hostile ones: quiet, then under attack, then quiet again."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import orjson

from events.soak.abuse_report import AbuseReport
from events.soak.client import TRANSPORTS
from events.soak.conductor import SUBSCRIBE_S, Conductor, Say
from events.soak.hostile import KINDS
from events.soak.latency import Latencies
from events.soak.plan import SoakPlan
from events.soak.processes import Child
from events.soak.report import Report, merged

#: The attackers may end so much later than the publisher: they start slowly on a busy machine.
ATTACK_END_S: Final = 60.0

MEMORY_POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class AbusePlan:
    """One abuse run.

    clients:  honest clients; sockets: hostile ones at a time
    kinds:    names of `hostile.KINDS`, which the hostile ones are of in turn
    rate:     events per second, in all phases
    servers:  server processes
    quiet_s, hostile_s, after_s: seconds of each phase
    """

    clients: int = 200
    sockets: int = 2_000
    kinds: tuple[str, ...] = tuple(KINDS)
    rate: float = 20.0
    servers: int = 1
    quiet_s: float = 30.0
    hostile_s: float = 60.0
    after_s: float = 30.0
    seed: int = 0

    def soak(self) -> SoakPlan:
        """What the honest clients see of it."""
        seconds = self.quiet_s + self.hostile_s + self.after_s
        plan = SoakPlan(rate=self.rate, seconds=seconds, clients=self.clients, polling=0.2, seed=self.seed)
        return replace(plan, servers=self.servers, relays=1, faults=())


class Abuse(Conductor):
    """A soak whose only fault is the attack. `prove` runs it."""

    def __init__(self, plan: AbusePlan, manage: Path, folder: Path, inherited: Mapping[str, str], say: Say) -> None:
        super().__init__(plan.soak(), manage, folder, inherited, say)
        self._abuse = plan
        ports = ",".join(map(str, self._system.ports))
        arguments = (ports, ",".join(plan.kinds), str(plan.sockets), str(plan.hostile_s), str(plan.seed))
        # Not by the path of the file: its folder would come first among those that modules are looked for in.
        environment = {**inherited, "PYTHONPATH": str(manage.parent)}
        self._attackers = Child("attackers", (sys.executable, "-m", "events.soak.hostile", *arguments), folder, environment)
        self._latencies: dict[tuple[str, str], Latencies] = {}
        self._memory: dict[str, int] = {}

    async def prove(self) -> AbuseReport:
        """Raises `SoakFailed` when it could not be run to its end."""
        honest = await self.run()
        outcomes: dict[str, dict[str, int]] = orjson.loads(self._attackers.log.read_bytes().splitlines()[-1])
        return AbuseReport(honest, self._latencies, self._memory, outcomes)

    async def _soak(self) -> Report:
        await self._until(lambda: all(client.subscribed for client in self._on_time), SUBSCRIBE_S, "all clients to subscribe")
        await self._phase("quiet", self._abuse.quiet_s)
        self._memory["before"] = self._resident()
        watch = asyncio.create_task(self._watch_memory())
        self._attackers.start()
        try:
            await self._phase("hostile", self._abuse.hostile_s)
            await self._until(self._attackers.finished, ATTACK_END_S, "the attackers to end")
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await self._attackers.end(signal.SIGKILL)
        await self._phase("after", self._abuse.after_s)
        await self._catch_up()
        self._memory["after"] = self._resident()
        return self._report(self._plan.seconds, 0.0)

    async def _phase(self, name: str, seconds: float) -> None:
        """Publish for so long. What comes meanwhile counts for this phase."""
        self._say(f"{name:9} {seconds:g} s")
        for client in self._clients:
            client.tally.latencies = Latencies()
        await self._publisher.run(self._abuse.rate, seconds)
        for transport in TRANSPORTS:
            self._latencies[name, transport] = merged(
                client.tally.latencies for client in self._clients if client.kind == transport
            )

    async def _watch_memory(self) -> None:
        while True:
            self._memory["peak"] = max(self._memory.get("peak", 0), self._resident())
            await asyncio.sleep(MEMORY_POLL_S)

    def _resident(self) -> int:
        """Bytes of all servers."""
        pages = (int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) for server in self._system.servers)
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")
