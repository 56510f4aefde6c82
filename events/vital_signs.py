"""What must hold for events to flow through this process. Each check raises `Unavailable` with the reason and what to do."""

import time
from typing import Final

from events.conf import EventsConfig
from events.ports import Unavailable
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
        _check_tasks(process)
        _check_hub(process)
        if config.sends_canaries:
            _check_canary(process, leader)


async def check_process(process: ServerProcess | None) -> None:
    """This process itself: whether clients can be sent to it."""
    if process is None:
        return
    if process.draining:
        raise Unavailable("This server process is draining: it is about to end and takes no new clients.")
    worst = process.loop_watch.worst_s
    if worst > STALLED_S:
        raise Unavailable(
            f"The event loop of this server process stood still for {worst:.1f} s within the last 10 s, and all its clients "
            "with it. The log entry event_loop_stalled says where; or the machine is overloaded."
        )


def _check_tasks(process: ServerProcess) -> None:
    broken = [state for state in process.tasks.unhealthy() if not state.running]
    if broken:
        names = ", ".join(f"{state.name} ({state.failure or 'stopped'})" for state in broken)
        raise Unavailable(f"Background tasks of this server process do not run: {names}. They are restarted by themselves.")


def _check_hub(process: ServerProcess) -> None:
    if not process.hub.ready:
        raise Unavailable("This server process has not read the history's position yet.")
    silent = _since(process, process.hub.heard_at)
    if silent > DEAF_S:
        raise Unavailable(
            f"This server process has not heard from the relay for {silent:.0f} s; it keeps trying. If other server processes "
            "are healthy, it is cut off from the channel layer."
        )


def _check_canary(process: ServerProcess, leader: str) -> None:
    """Heartbeats come from a relay that lives; only a canary proves that it also reads and writes."""
    canary = process.hub.canary
    silent = _since(process, process.hub.canary_at)
    if silent > BLOCKED_S:
        raise Unavailable(
            f"Nothing came through the event bus for {silent:.0f} s, not even a canary: the relay {leader} leads and does not "
            "get on. It cannot read the bus or write the history, or it is far behind; its log and its lag say which."
        )
    if canary is not None and canary.relayed - canary.published > LAGGING_S:
        raise Unavailable(
            f"The relay {leader} is {canary.relayed - canary.published:.0f} s behind the event bus: more is published than it "
            "relays, or the history is slow."
        )


def _since(process: ServerProcess, moment: float) -> float:
    """Seconds since something was heard, or since this process started."""
    return time.monotonic() - max(moment, process.started_monotonic)
