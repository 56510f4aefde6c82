"""Stock Channels: each socket is a member of its workflow's group. Speaks just enough Socket.IO for the load client.

`daphne groups:application` serves; `python groups.py` moves events from the bus to the groups, as `runbus` would. The
environment has REDIS_PORT and LAYER: core (RedisChannelLayer) or pubsub (RedisPubSubChannelLayer).
"""

import asyncio
import os
from typing import Any

import django
import orjson
import redis.asyncio as redis
from django.conf import settings

BACKENDS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
REDIS_URL = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"

settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    SECRET_KEY="of no use",
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": BACKENDS[os.environ["LAYER"]],
            # The default capacity of 100 messages would lose events that the server is only late with, and the default of 100
            # connections would fail all further clients that join a group at the same time.
            "CONFIG": {"hosts": [{"address": REDIS_URL, "max_connections": 5_000}], "capacity": 100_000},
        }
    },
)
django.setup()

# Channels reads the settings when it is imported.
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402

OPEN = '0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'


class Consumer(AsyncWebsocketConsumer):
    """One socket."""

    async def connect(self) -> None:
        await self.accept()
        await self.send(OPEN)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        text = text_data or ""
        if text == "40":
            await self.send('40{"sid":"y"}')
        elif text.startswith("42"):
            _, data = orjson.loads(text[2:])
            await self.channel_layer.group_add("workflow." + data["workflow_id"], self.channel_name)
            await self.send('42["subscribed",{}]')

    async def workflow_event(self, message: dict[str, Any]) -> None:
        await self.send('42["workflow_event",' + orjson.dumps(message["event"]).decode() + "]")


application = Consumer.as_asgi()


async def move_events() -> None:
    layer = get_channel_layer()
    bus = redis.Redis.from_url(REDIS_URL).pubsub()
    await bus.subscribe("workflow_events")
    async for message in bus.listen():
        if message["type"] == "message":
            event = orjson.loads(message["data"])
            await layer.group_send("workflow." + event["workflow_id"], {"type": "workflow.event", "event": event})


if __name__ == "__main__":
    asyncio.run(move_events())
