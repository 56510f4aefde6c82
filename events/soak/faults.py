"""What is done to the system while it works. Each fault ends with everything started again; the streams tell how it went."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from events.limits.pace import LONGEST
from events.soak.client import SoakClient
from events.soak.plan import SoakPlan
from events.soak.processes import STOP_S, Child, System

#: A leader stays frozen for so much longer than its lease lasts.
FREEZE_MARGIN_S: Final = 2.0

RELAY_DOWN_S: Final = 2.0
SERVER_DOWN_S: Final = 1.0

#: Clients that are hit at once: one of so many, and for how long.
DROPPED: Final = 5
AWAY_S: Final = (0.0, 4.0)
STALLED: Final = 10
STALL_S: Final = (4.0, 8.0)

#: How long to look for a leader when there is none.
LEADER_S: Final = 15.0
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Fault:
    """One that was caused: seconds after the first event, and whom it hit."""

    at_s: float
    name: str
    target: str


class Faults:
    """Causes one fault after the other, each of those asked for before any comes again."""

    def __init__(self, plan: SoakPlan, system: System, clients: Sequence[SoakClient], random: Random) -> None:
        self.caused: list[Fault] = []
        self._plan = plan
        self._system = system
        self._clients = clients
        self._random = random
        self._causes: dict[str, Callable[[], Awaitable[str]]] = {
            "kill-leader": self._kill_leader,
            "freeze-leader": self._freeze_leader,
            "kill-server": self._kill_server,
            "rolling-restart": self._rolling_restart,
            "cut-redis": self._cut_redis,
            "restart-redis": self._restart_redis,
            "crash-redis": self._crash_redis,
            "lose-second": self._lose_second,
            "flush-redis": self._flush_redis,
            "drop-clients": self._drop_clients,
            "stall-clients": self._stall_clients,
        }

    async def run(self, say: Callable[[str], object]) -> None:
        """Until the plan's time is over. The last one begins early enough to be felt while events are published."""
        began = time.monotonic()
        bag: list[str] = []
        due = self._plan.fault_every_s
        while self._plan.faults and due < self._plan.seconds - 1:
            await asyncio.sleep(max(0.0, began + due - time.monotonic()))
            if not bag:
                bag = self._random.sample(self._plan.faults, len(self._plan.faults))
            name = bag.pop()
            at_s = time.monotonic() - began
            target = await self._causes[name]()
            self.caused.append(Fault(round(at_s, 1), name, target))
            say(f"{at_s:6.1f} s  {name}: {target}")
            due += self._plan.fault_every_s

    # -- relays ---------------------------------------------------------------------------------------------------------

    async def _kill_leader(self) -> str:
        leader = await self._leader()
        if leader is None:
            return "nobody led"
        await leader.end(signal.SIGKILL)
        await asyncio.sleep(RELAY_DOWN_S)
        leader.start()
        return leader.name

    async def _freeze_leader(self) -> str:
        leader = await self._leader()
        if leader is None:
            return "nobody led"
        seconds = self._system.config.lease_ttl_s + FREEZE_MARGIN_S
        leader.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        leader.send(signal.SIGCONT)
        return f"{leader.name} for {seconds:g} s"

    async def _leader(self) -> Child | None:
        deadline = time.monotonic() + LEADER_S
        while True:
            leader = await self._system.leader()
            if leader is not None or time.monotonic() > deadline:
                return leader
            await asyncio.sleep(POLL_S)

    # -- servers and Redis ----------------------------------------------------------------------------------------------

    async def _kill_server(self) -> str:
        server = self._random.choice(self._system.servers)
        await server.end(signal.SIGKILL)
        await asyncio.sleep(SERVER_DOWN_S)
        server.start()
        await self._system.server_ready(server)
        return server.name

    async def _rolling_restart(self) -> str:
        began = time.monotonic()
        for server in self._system.servers:
            await server.end(signal.SIGTERM, LONGEST * self._plan.drain_s + STOP_S)
            server.start()
            await self._system.server_ready(server)
        return f"{len(self._system.servers)} servers in {time.monotonic() - began:.1f} s"

    async def _cut_redis(self) -> str:
        kinds = ("normal", "pubsub")
        killed = [await self._system.ask("CLIENT", "KILL", "TYPE", kind) for kind in kinds]
        return ", ".join(f"{count or 0} {kind}" for count, kind in zip(killed, kinds, strict=True)) + " connections"

    async def _restart_redis(self) -> str:
        return await self._end_redis(signal.SIGTERM)

    async def _crash_redis(self) -> str:
        return await self._end_redis(signal.SIGKILL)

    async def _lose_second(self) -> str:
        """What `appendfsync everysec` allows a machine to forget: Redis had written it, the disk had not."""
        kept = self._system.aof_sizes()
        await asyncio.sleep(1.0)
        await self._system.redis.end(signal.SIGKILL)
        lost = sum(self._system.aof_sizes().values()) - sum(kept.values())
        for file, size in kept.items():
            os.truncate(file, size)
        self._system.redis.start()
        await self._system.redis_ready()
        return f"{lost:,} bytes"

    async def _flush_redis(self) -> str:
        keys = await self._system.ask("DBSIZE")
        await self._system.ask("FLUSHALL")
        return f"{keys or 0} keys"

    async def _end_redis(self, number: signal.Signals) -> str:
        began = time.monotonic()
        await self._system.redis.end(number)
        self._system.redis.start()
        await self._system.redis_ready()
        return f"away for {time.monotonic() - began:.1f} s"

    # -- clients --------------------------------------------------------------------------------------------------------

    async def _drop_clients(self) -> str:
        hit = self._some(DROPPED)
        for client in hit:
            client.drop(self._random.choice((0.0, self._random.uniform(*AWAY_S))))
        return f"{len(hit)} clients"

    async def _stall_clients(self) -> str:
        hit = self._some(STALLED)
        for client in hit:
            client.stall(self._random.uniform(*STALL_S))
        return f"{len(hit)} clients"

    def _some(self, of: int) -> list[SoakClient]:
        return self._random.sample(self._clients, max(1, len(self._clients) // of))
