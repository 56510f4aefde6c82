"""Requests within one process."""

import asyncio

from events.control_channel.encoding import decode_reply, decode_request, encode
from events.ports import CarryOut, ControlReply, ControlRequest


class MemoryControlChannel:
    """Carries out at once. Requests and replies are copied, as they are between processes."""

    def __init__(self) -> None:
        self._serving: dict[str, CarryOut] = {}

    async def ask(self, process: str, request: ControlRequest, wait_s: float) -> ControlReply:
        carry_out = self._serving.get(process)
        if carry_out is None:
            return ControlReply("unheard")
        return decode_reply(encode(carry_out(decode_request(encode(request)))))

    async def serve(self, process: str, carry_out: CarryOut) -> None:
        self._serving[process] = carry_out
        try:
            await asyncio.Event().wait()
        finally:
            del self._serving[process]
