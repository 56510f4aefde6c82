"""The end of a server process that has clients: they go one after the other, and not all at once to wherever they go next."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import structlog

from events.asgi_types import Receive, Scope, Send
from events.fanout import notices
from events.fanout.session import DRAINING, Session
from events.limits.pace import Pace
from events.try_again import try_again
from events.wiring import ServerProcess

log = structlog.get_logger("events")

#: Clients per second that may reconnect whatever the window: a few of them need not be spread over all of it.
LEAST_RATE: Final = 20

#: Connections are closed in steps of so long.
STEP_S: Final = 0.1

#: Clients that are told in one step of the event loop.
AT_ONCE: Final = 200

#: Where connections are opened.
ENGINE_PATH: Final = "/socket.io"
PLAIN_PATH: Final = "/ws/events"


def window_for(clients: int, longest_s: float) -> float:
    """Seconds that bound the rate: no second is to see more of so many clients come back than this divides them into."""
    return min(longest_s, clients / LEAST_RATE)


class Drain:
    """Tells every client when its connection will end, and ends it then.

    A client that does nothing about it reconnects when its connection ends, and one that knows the notice may be quicker; both
    arrive elsewhere at about the moment that was chosen for them.
    """

    def __init__(self, process: ServerProcess, longest_s: float) -> None:
        self._process = process
        self._longest_s = longest_s

    async def run(self) -> None:
        """Returns when every client that was connected at the beginning has been told to go and has been closed."""
        self._process.draining = True
        sessions = list(self._process.hub.sessions.values())
        # In the order of their connecting, those of one page or one address would go together.
        random.shuffle(sessions)
        window_s = window_for(len(sessions), self._longest_s)
        pace = Pace(len(sessions), window_s, STEP_S, asyncio.get_running_loop().time())
        log.info("drain_started", clients=len(sessions), window_s=round(pace.spread_s, 1))
        await self._tell(sessions, pace.spread_s)
        await self._close(sessions, pace, min(STEP_S, window_s))
        log.info("drain_ended", clients=len(self._process.hub.sessions))

    async def _tell(self, sessions: Sequence[Session], spread_s: float) -> None:
        for number, session in enumerate(sessions, 1):
            session.emit("server_draining", notices.draining(spread_s * number / len(sessions), spread_s))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _close(self, sessions: Sequence[Session], pace: Pace, step_s: float) -> None:
        closed = 0
        while closed < len(sessions):
            await asyncio.sleep(step_s)
            due = pace.due(asyncio.get_running_loop().time())
            for session in sessions[closed:due]:
                if not session.closed:
                    session.disconnect(DRAINING)
            closed = due


# -- who comes meanwhile -----------------------------------------------------------------------------------------------


def is_new_client(scope: Scope) -> bool:
    """Whether a request opens a connection, rather than going on with one that is here or asking for something else."""
    path = scope["path"].rstrip("/")
    opens = path == ENGINE_PATH and b"sid=" not in scope["query_string"]
    return opens or (scope["type"] == "websocket" and path == PLAIN_PATH)


async def turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    """Do not let a client in. A proxy takes either answer as a reason to try another server (`deploy/nginx.conf`)."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    await try_again(send, 503, "This server process is about to end. Connect again.")
