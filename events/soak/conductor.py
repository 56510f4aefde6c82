"""A soak from start to end."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Final

from events.soak.client import SoakClient
from events.soak.faults import Faults
from events.soak.ledger import Published
from events.soak.plan import SoakFailed, SoakPlan
from events.soak.processes import System
from events.soak.publisher import Publisher
from events.soak.report import Report
from events.soak.traffic import Catalogue, Traffic, subscriptions

#: One client of so many joins while events are published already.
LATE: Final = 10

#: How long the first clients may take to subscribe.
SUBSCRIBE_S: Final = 60.0

POLL_S: Final = 0.1

#: How often the processes are looked after, and progress is told.
CHECK_S: Final = 1.0
PROGRESS_S: Final = 10.0

Say = Callable[[str], object]


class Conductor:
    """Owns everything that a soak starts. `run` ends all of it, however it ends."""

    def __init__(self, plan: SoakPlan, manage: Path, folder: Path, inherited: Mapping[str, str], say: Say) -> None:
        self._plan = plan
        self._say = say
        self._random = Random(plan.seed)  # noqa: S311 - traffic and faults, not secrets
        self._system = System(plan, manage, folder, inherited)
        self._catalogue = Catalogue(plan.workflows)
        self._published = Published()
        self._traffic = Traffic(self._catalogue, self._published, self._fork())
        config = self._system.config
        self._publisher = Publisher(self._system.redis_url, config.bus_name, config.bus_events, self._traffic)
        self._on_time: list[SoakClient] = []
        self._late: list[SoakClient] = []
        self._create_clients()
        self._faults = Faults(plan, self._system, self._clients, self._fork())

    async def run(self) -> Report:
        """Raises `SoakFailed` when the soak could not be run to its end."""
        failures: list[SoakFailed] = []
        try:
            self._say(f"Starting Redis, {self._plan.servers} servers and {self._plan.relays} relays.")
            await self._system.start()
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(client.run()) for client in self._on_time]
                background += [tasks.create_task(self._join(client)) for client in self._late]
                background.append(tasks.create_task(self._watch()))
                try:
                    return await self._soak()
                finally:
                    for task in background:
                        task.cancel()
        except* SoakFailed as group:
            failures.append(_first(group))
        finally:
            await self._publisher.close()
            await self._system.stop()
        raise failures[0]

    async def _soak(self) -> Report:
        plan = self._plan
        await self._until(lambda: all(client.subscribed for client in self._on_time), SUBSCRIBE_S, "all clients to subscribe")
        self._say(f"{len(self._on_time)} clients are subscribed. Publishing {plan.rate:g} events/s for {plan.seconds:g} s.")
        began, cpu_began = time.monotonic(), time.process_time()
        faults = asyncio.create_task(self._faults.run(self._say))
        try:
            await self._publisher.run(plan.rate, plan.seconds)
            seconds, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
            # A fault that has begun is brought to its end: its process runs again, and the clients need it.
            await faults
        finally:
            faults.cancel()
            await asyncio.gather(faults, return_exceptions=True)
        await self._catch_up()
        return self._report(seconds, cpu_s)

    async def _catch_up(self) -> None:
        """Wait until every client has the last event of each of its topics, or nothing comes any more."""
        came, since = -1, time.monotonic()
        while waiting := [client for client in self._clients if not client.complete]:
            now_came = sum(client.tally.live + client.tally.resumed for client in waiting)
            if now_came != came:
                came, since = now_came, time.monotonic()
            elif time.monotonic() - since > self._plan.catch_up_s:
                return
            await asyncio.sleep(POLL_S)

    def _report(self, seconds: float, cpu_s: float) -> Report:
        return Report(
            self._plan,
            self._clients,
            self._faults.caused,
            published=self._published.total,
            runs=self._traffic.runs,
            retries=self._publisher.retries,
            forgotten=self._publisher.forgotten,
            seconds=seconds,
            cpu_s=cpu_s,
        )

    async def _join(self, client: SoakClient) -> None:
        """A client that comes while events are published: it begins with the replay."""
        await self._until(lambda: self._published.total > 0, SUBSCRIBE_S, "the first event")
        await asyncio.sleep(self._random.uniform(0.05, 0.5) * self._plan.seconds)
        await client.run()

    async def _watch(self) -> None:
        """A process that ended by itself ends the soak; else say now and then how far it is."""
        told = time.monotonic()
        while True:
            await asyncio.sleep(CHECK_S)
            self._system.check()
            if self._published.total and time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                delivered = sum(client.tally.live + client.tally.resumed for client in self._clients)
                connected = sum(client.subscribed for client in self._clients)
                self._say(
                    f"          {self._published.total:,} published, {delivered:,} delivered, {connected} clients subscribed"
                )

    async def _until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise SoakFailed(f"Waited {seconds:g} s for {what}. --keep FOLDER keeps the output of all processes.")
            await asyncio.sleep(POLL_S)

    def _create_clients(self) -> None:
        """Each transport has the same mix of subscriptions, and of clients that are there from the start and late ones."""
        counts: Counter[str] = Counter()
        for number in range(self._plan.clients):
            share = self._plan.polling
            kind = "polling" if int((number + 1) * share) > int(number * share) else "websocket"
            place = counts[kind]
            counts[kind] += 1
            late = place % LATE == LATE - 1
            client = SoakClient(f"client-{number}", kind, self._system.ports, self._fork())
            client.subscribe(subscriptions(self._catalogue, place), self._published, from_start=not late)
            (self._late if late else self._on_time).append(client)

    @property
    def _clients(self) -> list[SoakClient]:
        return self._on_time + self._late

    def _fork(self) -> Random:
        """Randomness of its own for each part, so that the timing of one does not change what the others do."""
        return Random(self._random.getrandbits(64))  # noqa: S311


def _first(group: "BaseExceptionGroup[SoakFailed]") -> SoakFailed:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
