"""Requests between processes, on Redis."""

import asyncio
import secrets
from typing import Any, Final

import structlog

from events.control_channel.encoding import decode_reply, decode_request, encode
from events.ports import CarryOut, ControlReply, ControlRequest, Unavailable
from events.redis_link import Keys, RedisLink

log = structlog.get_logger("events")

#: How long a process waits for a request before it asks anew.
POLL_S: Final = 5.0

#: Pause before Redis is asked again after it could not be reached.
RETRY_S: Final = 1.0

#: Requests that may wait for one process; beyond, the oldest go, and whoever asked is told that they were not heard.
MAX_WAITING: Final = 100

#: How often a request is called to the process. Called is its id, and its text is taken once, so that calling again does
#: no harm: the first call may have been lost with a connection.
CALLS: Final = 2

#: How much longer than whoever asked waits a request is kept: blocked commands end up to a tenth of a second late.
GRACE_MS: Final = 1_000

#: How long a reply waits to be fetched.
REPLY_TTL_MS: Final = 10_000


class RedisControlChannel:
    """A list per process has the ids of requests. The text of a request is a key of its own that expires with the patience
    of whoever asked: the process takes it away with the one command that reads it, so either it is carried out, or whoever
    asked takes it back and knows that it never will be."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def ask(self, process: str, request: ControlRequest, wait_s: float) -> ControlReply:
        name, life_ms = secrets.token_hex(8), round(wait_s * 1000) + GRACE_MS
        text, answer = self._keys.control_request(name), self._keys.control_reply(name)
        await self._link.call("SET", text, encode(request), "PX", life_ms)
        for _ in range(CALLS):
            await self._call(process, name, life_ms)
            found = await self._link.call_blocking(wait_s, "BLPOP", answer, wait_s / CALLS)
            if found is not None:
                return decode_reply(found[1])
        taken_back, reply = await self._link.atomically([("DEL", text), ("LPOP", answer)])
        if reply is not None:
            return decode_reply(reply)
        return ControlReply("unheard" if taken_back else "unknown")

    async def serve(self, process: str, carry_out: CarryOut) -> None:
        while True:
            try:
                found = await self._link.call_blocking(POLL_S, "BLPOP", self._keys.control(process), POLL_S)
                if found is not None:
                    await self._take(found[1].decode(), carry_out)
            except Unavailable as error:
                log.warning("control_unavailable", reason=str(error))
                await asyncio.sleep(RETRY_S)

    async def _call(self, process: str, name: str, life_ms: int) -> None:
        waiting = self._keys.control(process)
        commands: list[tuple[Any, ...]] = [
            ("RPUSH", waiting, name),
            ("LTRIM", waiting, -MAX_WAITING, -1),
            ("PEXPIRE", waiting, life_ms),
        ]
        await self._link.atomically(commands)

    async def _take(self, name: str, carry_out: CarryOut) -> None:
        text = await self._link.call("GETDEL", self._keys.control_request(name))
        if text is None:
            return  # Carried out already, or whoever asked has given up.
        answer = self._keys.control_reply(name)
        reply = encode(carry_out(decode_request(text)))
        await self._link.atomically([("RPUSH", answer, reply), ("PEXPIRE", answer, REPLY_TTL_MS)])
