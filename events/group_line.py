"""The group's channel in Redis, read without a detour: what arrives is with the receiver in the same turn of the loop.

channels_redis takes a message from redis-py, which waits for it with a timer, puts it into a queue, and wakes the task that
asked the layer for it. So where the layer lets us find the Redis behind it, we subscribe to the group's channel ourselves, on
a connection of our own; messages are the layer's, in its own encoding. Any other layer is asked for its messages, as layers
are (`events.channel_groups.HubMember`).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.serializers import MsgPackSerializer
from channels_redis.utils import create_pool
from redis import exceptions as errors
from redis.asyncio.connection import AbstractConnection

from events.cancellation import heed_cancellation
from events.group_messages import Message, hand_over
from events.ports import GroupReceiver, Queue, Unavailable

#: What we use of a channel layer that is not part of its interface.
_LAYER_ATTRIBUTES: Final = ("_get_shard", "_get_group_channel_name", "serialize", "deserialize")


class GroupLine(asyncio.Protocol):
    """The group's one subscriber in this process, by Redis itself.

    Nothing waits here: what the process is too slow to read stays in Redis, which ends the connection when it has become too
    much (`client-output-buffer-limit pubsub`).
    """

    def __init__(self, layer: RedisPubSubChannelLayer, receiver: GroupReceiver, queue: Queue) -> None:
        self._layer = layer
        self._decode = _decoder(layer)
        self._receiver = receiver
        self._queue = queue
        self._replies = hiredis.Reader()
        self._heard_at = time.monotonic()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def silent_for(self) -> float:
        """Seconds since the group last said anything, or since this was made."""
        return time.monotonic() - self._heard_at

    async def stay(self, group: str) -> None:
        """Subscribe and listen, for ever. Raises `Unavailable` when Redis cannot be reached or ends the connection, and what
        the receiver raises."""
        channel = self._layer._get_group_channel_name(group)
        connection: AbstractConnection = create_pool(self._layer._get_shard(channel).host).make_connection()
        try:
            await self._connect(connection)
            self._subscribe(connection, channel)
            await self._ended
        finally:
            await connection.disconnect(nowait=True)

    async def leave(self) -> None:
        """Nothing is left behind."""

    async def _connect(self, connection: AbstractConnection) -> None:
        """redis-py knows how: address, TLS, user and password."""
        try:
            with heed_cancellation():
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no annotation there.
        except (OSError, TimeoutError, errors.RedisError) as error:
            raise Unavailable(f"The channel layer's Redis cannot be reached: {error}") from error

    def _subscribe(self, connection: AbstractConnection, channel: str) -> None:
        """Take the connection over from redis-py: from here on all that comes is for us."""
        writer = connection._writer
        if writer is None:
            raise Unavailable("The channel layer's Redis ended the connection.")
        transport = cast(asyncio.Transport, writer.transport)
        transport.set_protocol(self)
        transport.writelines(connection.pack_command("SUBSCRIBE", channel))

    def data_received(self, data: bytes) -> None:
        if self._ended.done():
            return
        try:
            self._replies.feed(data)
            messages: list[Message] = []
            while (reply := self._replies.gets()) is not False:
                if (message := self._message(reply)) is not None:
                    messages.append(message)
            self._take(messages)
        except Exception as error:
            self._end(error)

    def _message(self, reply: Any) -> Message | None:
        """What was said in the group; None for Redis's own answers."""
        if isinstance(reply, Exception):
            raise Unavailable(f"The channel layer's Redis refuses to serve: {reply}")
        return cast(Message, self._decode(reply[2])) if reply[0] == b"message" else None

    def _take(self, messages: list[Message]) -> None:
        if messages:
            self._heard_at = time.monotonic()
            self._queue.waiting = len(messages) - 1
            hand_over(messages, self._receiver)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(Unavailable(f"The channel layer's Redis ended the connection: {exc or 'closed'}"))

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


def _decoder(layer: RedisPubSubChannelLayer) -> Callable[[bytes], Any]:
    """The layer's way to read a message, without the detour over what it leaves as it is: there is one for each message."""
    serializer: Any = getattr(layer, "_serializer", None)
    plain = type(serializer) is MsgPackSerializer and not serializer.crypter and not serializer.random_prefix_length
    return cast(Callable[[bytes], Any], serializer.from_bytes if plain else layer.deserialize)


def line_layer(layer: object) -> RedisPubSubChannelLayer | None:
    """The layer, if what it publishes and hears can be published and heard without it. Layers that derive from it may do
    otherwise what we leave out."""
    fitting = type(layer) is RedisPubSubChannelLayer and all(hasattr(layer, name) for name in _LAYER_ATTRIBUTES)
    return cast(RedisPubSubChannelLayer, layer) if fitting else None
