"""Reports as server processes write them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson

from events.ports import ClientChanges, ClientRegistry, ProcessReport
from events.stats import ClientRow


def row(sid: str, process: str, **fields: Any) -> ClientRow:
    """A client with one workflow subscription; `fields` change it."""
    plain = ClientRow(
        sid=sid,
        process=process,
        transport="websocket",
        address="192.0.2.7",
        user_agent="Dashboard/2.1",
        connected_at=1_769_248_800.0,
        authenticated=True,
        workflows=1,
        bots=0,
        strategies=0,
        everything=False,
        topics=["workflow:arb_btc_001"],
        sent=12,
        backlog_bytes=0,
        lagging=False,
    )
    return replace(plain, **fields)


@dataclass(frozen=True)
class Told:
    """What a process tells of itself and of its clients."""

    report: ProcessReport
    clients: Sequence[ClientRow] = ()

    async def to(self, registry: ClientRegistry, ttl_s: float) -> None:
        """Tell it."""
        rows = {client.sid: orjson.dumps(asdict(client)) for client in self.clients}
        await registry.report(self.report, ttl_s)
        await registry.put_clients(self.report.process, ClientChanges(rows, anew=True), ttl_s)


def told(process: str, *clients: ClientRow, kind: str = "server", **fields: Any) -> Told:
    """A process that has run for a minute."""
    gauges = {"clients": len(clients), "subscriptions": sum(len(client.topics) for client in clients)}
    plain = ProcessReport(process, kind, "app-1", 4711, 1_769_248_740.0, 1_769_248_800.0, gauges=gauges)
    return Told(replace(plain, **fields), clients)
