"""The composition root: the only place that knows every part. Builds what one process runs."""

import asyncio
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from events.allocator import Allocator
from events.bus.memory import MemoryBus
from events.bus.redis_pubsub import RedisPubSubReader
from events.bus.redis_stream import RedisStreamBus, RedisStreamReader
from events.channel_groups import ChannelGroupInbox, ChannelGroupSender
from events.clients.memory import MemoryClientRegistry
from events.clients.redis import RedisClientRegistry
from events.conf import GROUP_NAME, EventsConfig
from events.control_channel.memory import MemoryControlChannel
from events.control_channel.redis import RedisControlChannel
from events.fanout.counters import Counters
from events.fanout.desk import OperatorDesk
from events.fanout.durations import DurationKeeper
from events.fanout.emergency import EmergencyWatch
from events.fanout.flags import FlagWatch
from events.fanout.hub import Hub
from events.fanout.loop_watch import LoopWatch
from events.fanout.presence import Presence
from events.fanout.relay import Relay
from events.fanout.sampler import Sampler
from events.history.memory import MemoryHistory
from events.history.redis import RedisHistory
from events.lease.memory import MemoryLease
from events.lease.redis import RedisLease
from events.ports import (
    BusReader,
    ClientRegistry,
    ControlChannel,
    EventBus,
    GroupSender,
    History,
    Lease,
    NoTracer,
    ProcessReport,
    Queue,
    StateStore,
    Tracer,
    Unavailable,
)
from events.process_name import this_process, unique
from events.redis_link import Keys, RedisLink
from events.state.memory import MemoryStateStore
from events.state.redis import RedisStateStore
from events.supervisor import Supervisor

log = structlog.get_logger("events")

#: How often a process reports what it does; and how soon after a client came, went or changed its subscriptions.
REPORT_INTERVAL_S = 1.0
REPORT_SOON_S = 0.1

#: A report looks at each client; with more clients than this it is made once in the interval, whatever changes.
REPORT_SOON_CLIENTS = 200

#: A process that has not reported for so long is taken as dead.
REPORT_TTL_S = 6.0


@dataclass(frozen=True, slots=True)
class Adapters:
    """One adapter for each port. `readers` are the relay's inputs."""

    bus: EventBus
    readers: Sequence[BusReader]
    history: History
    registry: ClientRegistry
    lease: Lease
    state: StateStore
    control: ControlChannel
    sender: GroupSender
    link: RedisLink | None = None

    async def close(self) -> None:
        """Close every connection."""
        for reader in self.readers:
            await reader.close()
        await self.bus.close()
        await self.history.close()
        await self.registry.close()
        await self.state.close()
        if self.link is not None:
            await self.link.close()


def build_adapters(config: EventsConfig) -> Adapters:
    """The adapters that the configuration asks for. Nothing is connected before it is used."""
    return _memory_adapters(config) if config.embedded else _redis_adapters(config)


def _memory_adapters(config: EventsConfig) -> Adapters:
    bus = MemoryBus(config.bus_events)
    history = MemoryHistory(config.history)
    return Adapters(
        bus,
        [bus.reader()],
        history,
        MemoryClientRegistry(),
        MemoryLease(),
        MemoryStateStore(),
        MemoryControlChannel(),
        ChannelGroupSender(GROUP_NAME),
    )


def _redis_adapters(config: EventsConfig) -> Adapters:
    link = RedisLink(config.redis_url)
    # Which events are traced is chosen when the history has them, and the group is told of it.
    sender = ChannelGroupSender(GROUP_NAME, "" if config.tracing.endpoint else config.redis_url)
    keys = Keys(config.redis_prefix, config.bus_name)
    makers: dict[str, Callable[[], BusReader]] = {
        "stream": lambda: RedisStreamReader(link, keys),
        "pubsub": lambda: RedisPubSubReader(link, keys),
    }
    return Adapters(
        bus=RedisStreamBus(link, keys, config.bus_events),
        readers=[makers[name]() for name in config.bus_inputs],
        history=RedisHistory(link, keys, config.history, sender),
        registry=RedisClientRegistry(link, keys),
        lease=RedisLease(link, keys),
        state=RedisStateStore(link, keys),
        control=RedisControlChannel(link, keys),
        sender=sender,
        link=link,
    )


def build_tracer(config: EventsConfig, process: str, kind: str) -> Tracer:
    """What records the way of events, if anything does."""
    if not config.tracing.endpoint:
        return NoTracer()
    from events.tracing import OtlpTracer

    return OtlpTracer(config.tracing, process, kind)


class Process(ABC):
    """What every process has: its identity, its adapters, its background tasks, and its report to the others."""

    kind = ""
    loop_watch: LoopWatch

    def __init__(self, config: EventsConfig) -> None:
        self.config = config
        self.adapters = build_adapters(config)
        self.tasks = Supervisor()
        self.started = time.time()
        self.started_monotonic = time.monotonic()
        self.loop = asyncio.get_running_loop()
        self.name = unique()
        this_process.take(self.name)
        self._reported = Counters()
        self.tracer = build_tracer(config, self.name, self.kind)

    def start_sampling(self) -> None:
        """Have the last hour's charts know of this process."""
        sampler = Sampler(self.name, self.kind, self.adapters.state, self.counters, self.gauges)
        self.tasks.start("samples", sampler.run)

    @abstractmethod
    def counters(self) -> Counters:
        """What this process has counted since it started."""

    def vitals(self) -> dict[str, Any]:
        """How long the event loop stood still lately, and the background tasks that do not run."""
        broken = [f"{state.name} ({state.failure or 'stopped'})" for state in self.tasks.unhealthy() if not state.running]
        return {**self.loop_watch.gauges(), "broken": broken}

    @abstractmethod
    def queues(self) -> dict[str, Queue]:
        """The bounded queues of this process, by name."""

    def gauges(self) -> dict[str, Any]:
        """`queues`: how many wait in each, and its bound."""
        return {"queues": {name: [queue.waiting, queue.bound] for name, queue in self.queues().items()}}

    @property
    def clients(self) -> int:
        """How many it has."""
        return 0

    def count_overflows(self, counted: Counters) -> Counters:
        """Add what the queues dropped."""
        overflows = {f"overflows:{name}": queue.dropped for name, queue in self.queues().items() if queue.dropped}
        counted.labelled.update(overflows)
        return counted

    def build_relay(self) -> Relay:
        """The relay that this process runs, if it runs one."""
        config, adapters = self.config, self.adapters
        return Relay(
            adapters.history,
            adapters.sender,
            adapters.readers,
            adapters.lease,
            self.name,
            config.event,
            lease_ttl_s=config.lease_ttl_s,
            heartbeat_s=config.heartbeat_s,
            interval_s=config.delivery_interval_ms / 1000,
            bus=adapters.bus if config.sends_canaries else None,
            tracer=self.tracer,
        )

    def start_relay(self, relay: Relay) -> None:
        """Start what leads when nobody else does."""
        self.tasks.start("relay", relay.run)
        keeper = DurationKeeper(self.adapters.history, self.adapters.state, lambda: relay.leading)
        self.tasks.start("durations", keeper.run)
        flags = FlagWatch(self.adapters.history, self.adapters.state, lambda: relay.leading)
        self.tasks.start("flags", flags.run)

    def unreported(self) -> dict[str, int]:
        """What was counted since the last report."""
        return self.counters().since(self._reported)

    def report(self, counters: dict[str, int] | None = None) -> ProcessReport:
        """What this process says of itself now."""
        return ProcessReport(
            process=self.name,
            kind=self.kind,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self.started,
            at=time.time(),
            gauges=self.gauges(),
            counters=counters or {},
            counted=self.counters().as_dict(),
        )

    async def report_now(self, *, changed: bool = True) -> None:
        """Tell the registry. Counters are told once: what could not be delivered goes with the next report. `changed`: whether
        clients may have changed since the last one."""
        now = self.counters().copy()
        await self.adapters.registry.report(self.report(now.since(self._reported)), REPORT_TTL_S)
        self._reported = now

    async def run_reports(self, changed: asyncio.Event) -> None:
        """Report each second, and soon after `changed` was set, for ever."""
        # Until it has been told.
        anything = True
        while True:
            anything = anything or changed.is_set()
            changed.clear()
            try:
                await self.report_now(changed=anything)
                anything = False
            except Unavailable as error:
                log.warning("report_failed", reason=str(error))
            soon = REPORT_SOON_S if self.clients <= REPORT_SOON_CLIENTS else REPORT_INTERVAL_S
            await asyncio.sleep(soon)
            try:
                await asyncio.wait_for(changed.wait(), REPORT_INTERVAL_S - soon)
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """End the background tasks, say goodbye to the others, close the connections."""
        await self.tasks.stop()
        try:
            await self.report_now()
            await self.adapters.registry.withdraw(self.name)
        except Unavailable as error:
            log.warning("goodbye_failed", reason=str(error))
        await self.adapters.close()
        await asyncio.to_thread(self.tracer.close)
        log.info("process_stopped", kind=self.kind)


def relay_gauges(relay: Relay) -> dict[str, Any]:
    """leading: whether this relay leads · lag_s: see `Relay.lag_s`"""
    return {"leading": relay.leading, "lag_s": round(relay.lag_s, 3)}


def reader_queues(readers: Sequence[BusReader]) -> dict[str, Queue]:
    """What waits for the relay in this process, by input."""
    return {reader.name: queue for reader in readers if (queue := reader.queue()) is not None}


class ServerProcess(Process):
    """A process that serves clients: a hub, and in the embedded server the relay as well."""

    kind = "server"

    def __init__(self, config: EventsConfig) -> None:
        super().__init__(config)
        self.hub = Hub(self.adapters.history, config.history.recent_events, self.tracer)
        self.presence = Presence(self.adapters.registry, self.name, self.hub.sessions)
        self.relay = self.build_relay() if config.embedded else None
        self.loop_watch = LoopWatch(self.hub.counters.labelled)
        self.inbox = ChannelGroupInbox(GROUP_NAME)
        #: True once this process is about to end and takes no new clients.
        self.draining = False

    def start(self) -> None:
        """Start the background tasks."""
        self.tasks.start("group", lambda: self.inbox.run(self.hub))
        self.tasks.start("hub", self.hub.run)
        self.tasks.start("catch-up", self.hub.catch_up.run)
        self.tasks.start("report", lambda: self.run_reports(self.hub.changed))
        self.tasks.start("loop watch", self.loop_watch.run)
        allocator = Allocator()
        if allocator.available:
            self.tasks.start("allocator", allocator.run)
        self.tasks.start("emergency", EmergencyWatch(self.hub, self.adapters.state).run)
        self.start_sampling()
        self.tasks.start("control", lambda: self.adapters.control.serve(self.name, OperatorDesk(self.hub).carry_out))
        if self.relay is not None:
            self.start_relay(self.relay)
        log.info("server_started", embedded=self.config.embedded)

    def counters(self) -> Counters:
        counted = self.hub.counters.copy()
        if self.relay is not None:
            relayed = self.relay.counters
            counted.received, counted.rejected = relayed.received, relayed.rejected
            counted.gaps, counted.missed = relayed.gaps, relayed.missed
            counted.labelled.update(relayed.labelled)
        return self.count_overflows(counted)

    def queues(self) -> dict[str, Queue]:
        clients = Queue(self.config.access.connections, len(self.hub.sessions))
        inputs = reader_queues(self.adapters.readers) if self.relay is not None else {}
        return {"clients": clients, "group": self.inbox.queue} | inputs

    @property
    def clients(self) -> int:
        return len(self.hub.sessions)

    def gauges(self) -> dict[str, Any]:
        own = {
            "clients": self.clients,
            "lagging": len(self.hub.catch_up),
            "subscriptions": self.hub.subscriptions,
        }
        return super().gauges() | own | self.vitals() | (relay_gauges(self.relay) if self.relay is not None else {})

    def vitals(self) -> dict[str, Any]:
        """What `events.vital_signs` looks at: whether this process is about to end and knows the history's position; seconds
        since it heard from the relay and since the last canary came (absent where there are none), and how late the relay was
        with that; beside what every process has."""
        canary = self.hub.canary
        canaries = {
            "canary_s": self._since(self.hub.canary_at),
            "canary_lag_s": canary.relayed - canary.published if canary is not None else 0.0,
        }
        heard = {"draining": self.draining, "ready": self.hub.ready, "heard_s": self._since(self.hub.heard_at)}
        return super().vitals() | heard | (canaries if self.config.sends_canaries else {})

    def _since(self, moment: float) -> float:
        """Seconds since something was heard, or since this process started."""
        return round(time.monotonic() - max(moment, self.started_monotonic), 3)

    async def report_now(self, *, changed: bool = True) -> None:
        await super().report_now(changed=changed)
        await self.presence.update(REPORT_TTL_S, changed=changed)


class RelayProcess(Process):
    """What `manage.py runbus` runs."""

    kind = "runbus"

    def __init__(self, config: EventsConfig) -> None:
        super().__init__(config)
        self.relay = self.build_relay()
        self.loop_watch = LoopWatch(self.relay.counters.labelled)

    def start(self) -> None:
        """Start the background tasks."""
        self.start_relay(self.relay)
        self.tasks.start("report", lambda: self.run_reports(asyncio.Event()))
        self.start_sampling()
        self.tasks.start("loop watch", self.loop_watch.run)
        log.info("runbus_started", inputs=[reader.name for reader in self.adapters.readers])

    def counters(self) -> Counters:
        return self.count_overflows(self.relay.counters.copy())

    def queues(self) -> dict[str, Queue]:
        return reader_queues(self.adapters.readers)

    def gauges(self) -> dict[str, Any]:
        return super().gauges() | relay_gauges(self.relay) | self.vitals()


class ServerSlot:
    """The one server process of this operating system process, made when it is first needed.

    ASGI servers start an application in different ways, and daphne tells it nothing at all; so whoever comes first, be it a
    command, a lifespan message or a request, starts the process.
    """

    def __init__(self) -> None:
        self.process: ServerProcess | None = None

    async def ensure(self) -> ServerProcess:
        """The running process, on the running event loop."""
        if self.process is None or self.process.loop is not asyncio.get_running_loop():
            self.process = ServerProcess(EventsConfig.from_settings())
            self.process.start()
        return self.process

    def count(self, kind: str, value: str) -> None:
        """Count something that happened in a view, where a server process counts."""
        if self.process is not None:
            self.process.hub.counters.count(kind, value)

    async def stop(self) -> None:
        """Stop the process if there is one."""
        process, self.process = self.process, None
        if process is not None:
            await process.stop()


server = ServerSlot()
