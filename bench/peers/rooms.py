"""python-socketio, used well: rooms, orjson, WebSocket without compression, the Redis subscriber in the server's own process.

An ASGI application: `uvicorn rooms:app`, `daphne rooms:app`. The environment has REDIS_PORT.
"""

import asyncio
import os
from typing import Any

import orjson
import redis.asyncio as redis
import socketio


class FastJson:
    """What python-socketio wants of a JSON module."""

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str, **options: Any) -> Any:
        return orjson.loads(text)


sio = socketio.AsyncServer(async_mode="asgi", json=FastJson, transports=["websocket"], http_compression=False)
app = socketio.ASGIApp(sio)

#: The one task that reads the bus. A task without a reference is lost to the garbage collector.
tasks: list[asyncio.Task[None]] = []


@sio.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    # daphne has no start-up event for applications, so the first client starts the subscriber.
    if not tasks:
        tasks.append(asyncio.create_task(read_bus()))
    await sio.emit("connected", {"sid": sid}, to=sid)


@sio.event
async def subscribe_workflow(sid: str, data: dict[str, str]) -> None:
    await sio.enter_room(sid, "workflow:" + data["workflow_id"])
    await sio.emit("subscribed", {"type": "workflow", **data}, to=sid)


async def read_bus() -> None:
    bus = redis.Redis(port=int(os.environ["REDIS_PORT"])).pubsub()
    await bus.subscribe("workflow_events")
    async for message in bus.listen():
        if message["type"] == "message":
            event = orjson.loads(message["data"])
            await sio.emit("workflow_event", event, to="workflow:" + event["workflow_id"])
