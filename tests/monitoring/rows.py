"""Reports as server processes write them."""

from dataclasses import asdict, replace
from typing import Any

from events.ports import ProcessReport
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


def process_report(process: str, *clients: ClientRow, kind: str = "server", **fields: Any) -> ProcessReport:
    """The report of a process that has run for a minute."""
    plain = ProcessReport(
        process,
        kind,
        "app-1",
        4711,
        1_769_248_740.0,
        1_769_248_800.0,
        gauges={"clients": len(clients)},
        clients=[asdict(it) for it in clients],
    )
    return replace(plain, **fields)
