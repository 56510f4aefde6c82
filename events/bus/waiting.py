"""Waiting for something to happen, but not for ever."""

import asyncio


async def wait_for(event: asyncio.Event, wait_s: float) -> bool:
    """True when the event happened within `wait_s`."""
    try:
        async with asyncio.timeout(wait_s):
            return await event.wait()
    except TimeoutError:
        return event.is_set()
