"""What must hold for events to flow through this process. Each check raises `Unavailable` with the reason and what to do."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from events.conf import EventsConfig
from events.ports import ProcessReport, Unavailable
from events.wiring import Adapters, ServerProcess

#: A hub that has not heard from the relay for so long is deaf. Heartbeats come each second.
DEAF_S: Final = 5.0

#: A way on which no canary came through for so long is blocked. There is one every two seconds, and a relay that takes over
#: from a dead one sends its first within four.
BLOCKED_S: Final = 7.0

#: A relay that takes so long for an entry of the bus is behind.
LAGGING_S: Final = 5.0

#: An event loop that stood still for so long within the last ten seconds.
STALLED_S: Final = 2.0


#: A process whose last report is so old hangs, or cannot reach the registry. There is one each second.
SILENT_S: Final = 3.0


async def check_events(adapters: Adapters, process: ServerProcess | None) -> None:
    """The way of an event from the bus to the clients of this process."""
    config = EventsConfig.from_settings()
    if process is None and config.embedded:
        raise Unavailable("No server runs in this process. Start one: python manage.py serve")
    leader = await adapters.lease.holder()
    if leader is None:
        mend = "The log says why." if config.embedded else "Start one: python manage.py runbus"
        raise Unavailable(f"No relay is running, so no event is delivered. {mend}")
    if process is not None:
        _raise_first(_way_troubles(process.vitals(), leader))


async def check_process(process: ServerProcess | None) -> None:
    """This process itself: whether clients can be sent to it."""
    if process is not None:
        _raise_first(_own_troubles(process.vitals()))


def troubles(report: ProcessReport, leader: str, now: float) -> list[str]:
    """What is wrong with a process by its last report, each with what to do. `leader` is the relay that leads, if one does."""
    found = [*_own_troubles(report.gauges), *_way_troubles(report.gauges, leader or "that should lead")]
    silent = now - report.at
    if silent > SILENT_S:
        found.append(f"It has not reported for {silent:.0f} s: it hangs, is overloaded or cannot reach Redis; see its log.")
    return found


def _raise_first(found: Iterator[str]) -> None:
    for trouble in found:
        raise Unavailable(trouble)


def _own_troubles(vitals: Mapping[str, Any]) -> Iterator[str]:
    if vitals.get("draining"):
        yield "This server process is draining: it is about to end and takes no new clients."
    worst = vitals.get("loop_delay_s", 0.0)
    if worst > STALLED_S:
        yield (
            f"The event loop of this process stood still for {worst:.1f} s within the last 10 s, and all its clients "
            "with it. The log entry event_loop_stalled says where; or the machine is overloaded."
        )


def _way_troubles(vitals: Mapping[str, Any], leader: str) -> Iterator[str]:
    if broken := vitals.get("broken"):
        yield f"Background tasks of this process do not run: {', '.join(broken)}. They are restarted by themselves."
    if not vitals.get("ready", True):
        yield "This server process has not read the history's position yet."
    if vitals.get("heard_s", 0.0) > DEAF_S:
        yield (
            f"This server process has not heard from the relay for {vitals['heard_s']:.0f} s; it keeps trying. If other server "
            "processes are healthy, it is cut off from the channel layer."
        )
    # Heartbeats come from a relay that lives; only a canary proves that it also reads and writes.
    if vitals.get("canary_s", 0.0) > BLOCKED_S:
        yield (
            f"Nothing came through the event bus for {vitals['canary_s']:.0f} s, not even a canary: the relay {leader} "
            "does not get on. It cannot read the bus or write the history, or is far behind; its log and its lag say which."
        )
    behind = max(vitals.get("canary_lag_s", 0.0), vitals.get("lag_s", 0.0) if vitals.get("leading") else 0.0)
    if behind > LAGGING_S:
        yield (
            f"The relay {leader} is {behind:.0f} s behind the event bus: more is published than it relays, or the history is "
            "slow."
        )
