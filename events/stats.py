"""The one window out: what the server processes do, as read-only snapshots. `monitoring` imports nothing else."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

import orjson

from events.bridge import ask
from events.conf import EventsConfig
from events.domain.durations import Typical, usual
from events.domain.entry import Entry
from events.domain.execution import RUNNING, Execution, NodeState
from events.domain.oddities import read_time, sequence_oddities, silence, state_oddities
from events.domain.timestamps import iso
from events.domain.topics import ALL
from events.fanout.counters import Counters
from events.fanout.latency import BUCKETS, CANARY, LOOP, STAGES, buckets, quantile, sum_seconds
from events.fanout.sampler import INTERVAL_S as SAMPLE_INTERVAL_S
from events.health_log import HealthLog
from events.ports import DeadLetter, Emergency, History, ProcessReport, Queue, Sample, Unavailable
from events.vital_signs import check_events, check_process, troubles
from events.wiring import Adapters, ServerProcess

__all__ = [
    "BUCKETS",
    "CANARY",
    "LOOP",
    "RUNNING",
    "SAMPLE_INTERVAL_S",
    "STAGES",
    "ClientRow",
    "Component",
    "DeadLetter",
    "Emergency",
    "Entry",
    "Execution",
    "Health",
    "NodeState",
    "ProcessReport",
    "Queue",
    "Reported",
    "Sample",
    "Snapshot",
    "Typical",
    "Unavailable",
    "buckets",
    "dead_letter",
    "dead_letters",
    "execution",
    "executions",
    "health",
    "last_events",
    "last_hour",
    "limits",
    "quantile",
    "read_time",
    "reported",
    "sequence_oddities",
    "silence",
    "snapshot",
    "state_oddities",
    "sum_seconds",
    "summary",
    "usual_durations",
]

health_log = HealthLog()

#: A component that has not answered for so long is not healthy.
COMPONENT_TIMEOUT_S = 1.5

#: What those are told of a reason who may not know it.
WITHHELD: Final = "The reason is for those who may read metrics: send a token with the scope metrics, or log in to the admin."

#: Journal entries that tell which topics are busy.
LAST_EVENTS = 1_000

#: Journal entries that are looked at for the events of one execution, how many in one read, and how long that may take.
EXECUTION_SCAN = 10_000
EXECUTION_PAGE = 500
EXECUTION_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One live client of any process.

    transport:    `websocket`, `polling` or `plain`
    connected_at: Unix time
    topics:       the first of its subscriptions
    token_id, token_name: the token that it has given; empty for none
    """

    sid: str
    process: str
    transport: str
    address: str
    user_agent: str
    connected_at: float
    authenticated: bool
    workflows: int
    bots: int
    strategies: int
    everything: bool
    topics: list[str]
    sent: int
    backlog_bytes: int
    lagging: bool
    token_id: str = ""
    token_name: str = ""


_ROW_FIELDS: Final = frozenset(each.name for each in fields(ClientRow))


def parse_row(text: bytes) -> ClientRow:
    """A row from its JSON text. Fields that only a newer release knows are passed over."""
    row = orjson.loads(text)
    return ClientRow(**(row if row.keys() == _ROW_FIELDS else {name: row[name] for name in _ROW_FIELDS}))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All processes at one time.

    started:       Unix time at which the longest-running server process started
    totals:        the counters of all processes (`events.fanout.counters`)
    recent_buffer: events that a subscriber to everything would get now
    """

    at: float
    started: float
    processes: list[ProcessReport]
    clients: list[ClientRow]
    totals: dict[str, int]
    recent_buffer: int

    @property
    def troubles(self) -> dict[str, list[str]]:
        """What is wrong with each process that is not well, and what to do."""
        leader = next((report.process for report in self.processes if report.gauges.get("leading")), "")
        found = {report.process: troubles(report, leader, self.at) for report in self.processes}
        return {process: texts for process, texts in found.items() if texts}

    def gauge(self, name: str) -> int:
        """The sum of a gauge over all processes that have it."""
        return sum(report.gauges.get(name, 0) for report in self.processes)


@dataclass(frozen=True, slots=True)
class Component:
    """One part that the server needs. `detail` says what is wrong and what to do; empty when healthy."""

    healthy: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether events flow. `process` is the server process that was asked."""

    at: float
    started: float
    state: Component
    events: Component
    emergency: Emergency
    connected_clients: int
    total_connections: int
    process: Component = Component(True)

    @property
    def healthy(self) -> bool:
        return self.state.healthy and self.events.healthy and self.process.healthy

    def withheld(self) -> "Health":
        """As far as anybody may know it: reasons name hosts, processes and files, so there is `WITHHELD` in their place."""
        parts = {name: getattr(self, name) for name in ("state", "events", "process")}
        kept = {name: replace(part, detail=part.detail and WITHHELD) for name, part in parts.items()}
        emergency = replace(self.emergency, reason=self.emergency.reason and WITHHELD)
        return replace(self, emergency=emergency, **kept)


def snapshot() -> Snapshot:
    """What is known of all processes. Raises `Unavailable`. Callable from any thread but not on the event loop."""
    # The rows become objects here: with ten thousand of them that takes a while, and the loop has clients to serve.
    found, rows = ask(_read_all)
    return replace(found, clients=[parse_row(row) for row in rows])


def summary() -> Snapshot:
    """As `snapshot`, without the clients."""
    return ask(read_summary)


def last_hour() -> list[Sample]:
    """What each process did in the last hour, oldest first. Raises `Unavailable`; not to be called on the event loop."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> list[Sample]:
        return await adapters.state.samples()

    return ask(read)


def dead_letters(limit: int, before: str = "") -> tuple[list[DeadLetter], int]:
    """Up to `limit` refused documents, newest first, or those older than the one with the id `before`; and how many are kept.
    Raises `Unavailable`; not to be called on the event loop."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> tuple[list[DeadLetter], int]:
        return await adapters.history.rejected(limit, before), (await adapters.history.fill())["dead_letters"].waiting

    return ask(read)


def dead_letter(letter_id: str) -> DeadLetter | None:
    """One refused document; None when it is not kept any more. Raises as `dead_letters`."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> DeadLetter | None:
        return await adapters.history.dead_letter(letter_id)

    return ask(read)


def last_events() -> tuple[list[Entry], int]:
    """The last `LAST_EVENTS` events of the journal, oldest first, and how many events a topic's recent buffer has room for.
    Raises as `dead_letters`."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> list[Entry]:
        position = await adapters.history.position()
        return list((await adapters.history.read(max(0, position.number - LAST_EVENTS), LAST_EVENTS)).entries)

    return ask(read), EventsConfig.from_settings().history.recent_events


def executions() -> list[Execution]:
    """The executions that had the newest events, up to as many as a topic lists. Raises as `dead_letters`."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> list[Execution]:
        limit = EventsConfig.from_settings().history.executions_per_topic
        return list((await adapters.history.snapshot(ALL, limit)).executions)

    return ask(read)


def usual_durations(found: Sequence[Execution]) -> Typical:
    """What the nodes of these executions usually take: as remembered, else as the executions themselves show. Raises as
    `dead_letters`."""
    workflows = sorted({each.workflow_id for each in found})

    async def read(adapters: Adapters, process: ServerProcess | None) -> dict[str, dict[str, list[float]]]:
        return await adapters.state.durations(workflows)

    return usual(ask(read), found)


def execution(execution_id: str) -> tuple[Execution, list[dict[str, Any]]] | None:
    """One execution and its newest events, as far as the journal and `EXECUTION_SCAN` reach; None when it is not known. Raises
    as `dead_letters`."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> tuple[Execution, list[bytes]] | None:
        (found,) = await adapters.history.executions([execution_id])
        return (found, await _documents_of(found, adapters.history)) if found is not None else None

    answer = ask(read, EXECUTION_TIMEOUT_S)
    if answer is None:
        return None
    events = (orjson.loads(document) for document in answer[1])
    return answer[0], [event for event in events if event["execution_id"] == execution_id]


async def _documents_of(found: Execution, history: History) -> list[bytes]:
    """Documents that name the execution, oldest first; that it is theirs is for the caller to see."""
    name, documents = orjson.dumps(found.execution_id), list[bytes]()
    after = max(found.first, found.last - EXECUTION_SCAN + 1) - 1
    while after < found.last:
        page = await history.read(after, EXECUTION_PAGE)
        if not page.entries:
            break
        after = page.entries[-1].number
        documents += [each.document for each in page.entries if name in each.document and each.number <= found.last]
        await asyncio.sleep(0)
    return documents


def health() -> Health:
    """Asks every component, and logs what has changed. Never raises; answers within some two seconds whatever hangs."""
    try:
        found = ask(read_health, 2 * COMPONENT_TIMEOUT_S)
    except Unavailable as error:
        broken = Component(False, str(error))
        found = Health(time.time(), time.time(), broken, broken, Emergency(), 0, 0)
    health_log.note({name: getattr(found, name).detail for name in ("state", "events", "process")})
    return found


@dataclass(frozen=True, slots=True)
class Reported:
    """What the processes have told the registry, and nothing newer: whoever reads it twice, even from two processes, never sees
    a counter go backwards.

    complete: False when the registry cannot be reached; `processes` has this one alone then, and there are no totals
    kept:     what bus and history keep for all processes together; empty when they cannot be reached
    """

    processes: list[ProcessReport]
    totals: dict[str, int]
    health: Health
    complete: bool
    kept: Mapping[str, Queue] = field(default_factory=dict)


def limits() -> dict[str, float]:
    """Every limit of the configuration by its name, such as `history.journal_events`."""
    config = EventsConfig.from_settings()
    parts: dict[str, Any] = {
        "event": config.event,
        "history": config.history,
        "session": config.session,
        "access": config.access,
    }
    found = {f"{part}.{name}": value for part, fields in parts.items() for name, value in asdict(fields).items()}
    return found | {"bus.events": config.bus_events, "protocol.payload_bytes": config.max_payload_bytes}


def reported() -> Reported:
    """For metrics. Raises `Unavailable` only when this process's own loop does not answer."""
    return ask(_read_reported)


async def _read_reported(adapters: Adapters, process: ServerProcess | None) -> Reported:
    health, reports, totals, of_bus, of_history = await asyncio.gather(
        read_health(adapters, process),
        _answer(adapters.registry.reports(), None),
        _answer(adapters.registry.totals(), None),
        _answer(adapters.bus.fill(), {}),
        _answer(adapters.history.fill(), {}),
    )
    if reports is None or totals is None:
        return Reported([process.report()] if process is not None else [], {}, health, complete=False)
    return Reported(reports, totals, health, complete=True, kept=of_bus | of_history)


async def _read_all(adapters: Adapters, process: ServerProcess | None) -> tuple[Snapshot, list[bytes]]:
    """All but the clients, and the clients' rows."""
    found = await read_summary(adapters, process)
    rows: list[bytes] = []
    for report in found.processes:
        if process is not None and report.process == process.name:
            rows += (await process.presence.rows()).values()
        elif report.kind == ServerProcess.kind:
            rows += (await adapters.registry.clients(report.process)).values()
    return found, rows


async def read_summary(adapters: Adapters, process: ServerProcess | None) -> Snapshot:
    """As `snapshot`, on the event loop and without the clients."""
    reports, counted = await _read_processes(adapters, process)
    position = await adapters.history.position()
    servers = [report for report in reports if report.kind == ServerProcess.kind]
    return Snapshot(
        at=time.time(),
        started=min((report.started for report in servers), default=time.time()),
        processes=sorted(reports, key=lambda report: report.started),
        clients=[],
        totals=counted,
        recent_buffer=min(position.number, EventsConfig.from_settings().history.recent_events),
    )


async def _read_processes(adapters: Adapters, process: ServerProcess | None) -> tuple[list[ProcessReport], dict[str, int]]:
    """The live processes' reports and everybody's counters. Of ourselves we know more than we last reported."""
    reports, counted = await asyncio.gather(adapters.registry.reports(), adapters.registry.totals())
    if process is not None:
        reports = [report for report in reports if report.process != process.name] + [process.report()]
        counted = Counter(counted) + Counter(process.unreported())
    return reports, Counters().as_dict() | counted


async def read_health(adapters: Adapters, process: ServerProcess | None) -> Health:
    """As `health`, on the event loop."""
    state, events, own, emergency, found = await asyncio.gather(
        _component(adapters.state.ping()),
        _component(check_events(adapters, process)),
        _component(check_process(process)),
        _answer(adapters.state.emergency(), Emergency()),
        _answer(_read_processes(adapters, process), None),
    )
    now = time.time()
    if found is None:
        # Nothing is known of the others; our own clients are still connected.
        clients = len(process.hub.sessions) if process is not None else 0
        connections = process.hub.counters.connections if process is not None else 0
        return Health(now, process.started if process else now, state, events, emergency, clients, connections, own)
    reports, counted = found
    servers = [report for report in reports if report.kind == "server"]
    started = min((report.started for report in servers), default=now)
    clients = sum(report.gauges.get("clients", 0) for report in servers)
    return Health(now, started, state, events, emergency, clients, counted["connections"], own)


async def stats_update(process: ServerProcess) -> dict[str, Any]:
    """The body of the `stats_update` event: what `/metrics` tells of all processes, without the list of clients."""
    found = await read_summary(process.adapters, process)
    return {
        "timestamp": iso(found.at),
        "uptime_seconds": int(found.at - found.started),
        "connections": {"current": found.gauge("clients"), "total": found.totals["connections"]},
        "subscriptions": {"total": found.gauge("subscriptions")},
        "events": {
            "received": found.totals["received"],
            "sent": found.totals["sent"],
            "recent_buffer": found.recent_buffer,
        },
    }


async def _component(check: Awaitable[None]) -> Component:
    try:
        await asyncio.wait_for(check, COMPONENT_TIMEOUT_S)
    except Unavailable as error:
        return Component(False, str(error))
    except TimeoutError:
        return Component(False, f"No answer within {COMPONENT_TIMEOUT_S:g} s.")
    return Component(True)


async def _answer(question: Awaitable[Any], otherwise: Any) -> Any:
    try:
        return await asyncio.wait_for(question, COMPONENT_TIMEOUT_S)
    except (Unavailable, TimeoutError):
        return otherwise
