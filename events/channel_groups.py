"""The Channels channel layer as the fan-out between processes: one group, one member per process.

The layer is at-most-once by contract, so nothing relies on it; see `events.fanout.hub`.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

import structlog
from channels.layers import BaseChannelLayer, get_channel_layer

from events.cancellation import heed_cancellation
from events.domain.entry import Position
from events.group_line import GroupLine, line_layer
from events.group_messages import Message, batch_messages, canary_message, gap_message, hand_over, heartbeat_message
from events.ports import Batch, BusGap, Canary, GroupReceiver, Queue, Sealed, Unavailable

#: How often the hub joins the group, which costs nothing while it is a member. The memory layer ends a membership after a
#: day, and when a message was not taken for a minute.
REJOIN_S: Final = 5.0

#: After so long without a heartbeat (there is one each second) the membership is made anew.
SILENCE_S: Final = 6.0

#: How long a member may take to leave. It leaves over a connection that may hang.
LEAVE_TIMEOUT_S: Final = 3.0

#: Pause before the group is joined again after the layer's Redis was lost.
RETRY_S: Final = 0.25

#: Messages that may wait in a layer for the hub; a hub that is so far behind catches up from the journal.
MAX_WAITING: Final = 1_000

log = structlog.get_logger("events")


def _layer() -> BaseChannelLayer:
    layer = get_channel_layer()
    if layer is None:
        raise RuntimeError("CHANNEL_LAYERS has no default layer.")
    return layer


class ChannelGroupSender:
    """Sends batches and heartbeats to the group. Raises `Unavailable` when the layer does not take them.

    Also an `Announcer`, for a history on the Redis over which the layer publishes.
    """

    def __init__(self, group: str, history_url: str = "") -> None:
        """`history_url` is where the history is; empty when it announces nothing."""
        self._group = group
        self._history_url = history_url
        #: Where the last batch ends that the history has announced.
        self._announced = Position("", 0)
        #: The layer that was asked last, and the channel on which the history can announce for it, if it can.
        self._known: tuple[BaseChannelLayer | None, str | None] = (None, None)

    async def send(self, batch: Batch) -> None:
        if Position(batch.epoch, batch.entries[-1].number) == self._announced:
            return
        for message in batch_messages(batch):
            await self._send(message)

    def seal(self, batch: Batch) -> Sealed | None:
        layer = _layer()
        known, channel = self._known
        if layer is not known:
            channel = self._channel(layer)
            self._known = layer, channel
        return None if channel is None else Sealed(channel, [layer.serialize(message) for message in batch_messages(batch)])

    def _channel(self, layer: BaseChannelLayer) -> str | None:
        """What the layer publishes on for the group, if it does so over the history's Redis."""
        own = line_layer(layer)
        if own is None:
            return None
        channel: str = own._get_group_channel_name(self._group)
        return channel if own._get_shard(channel).host.get("address") == self._history_url else None

    def announced(self, end: Position) -> None:
        self._announced = end

    async def heartbeat(self, position: Position) -> None:
        await self._send(heartbeat_message(position))

    async def announce(self, gap: BusGap) -> None:
        await self._send(gap_message(gap))

    async def pass_on(self, canary: Canary) -> None:
        await self._send(canary_message(canary))

    async def _send(self, message: Message) -> None:
        try:
            with heed_cancellation():
                await _layer().group_send(self._group, message)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"The channel layer did not take a message: {error}") from error
        except Exception as error:
            # Layers raise their client library's own errors, which this module does not know by name.
            raise Unavailable(f"The channel layer failed: {type(error).__name__}: {error}") from error


class Member(Protocol):
    """How this process is in the group."""

    def silent_for(self) -> float:
        """Seconds since the group last said anything, or since this member was made."""

    async def stay(self, group: str) -> None:
        """Be in the group and hand over what is said, until that fails."""

    async def leave(self) -> None:
        """Tidy up behind `stay`, which has ended. Never fails."""


class HubMember:
    """The group's one member in this process: what is sent to its channel, it hands to the receiver.

    Not a Channels consumer: these start a task or two for each message, and look after a database that is not used here.
    """

    def __init__(self, layer: BaseChannelLayer, receiver: GroupReceiver, queue: Queue) -> None:
        self._layer = layer
        self._receiver = receiver
        self._queue = queue
        self._heard_at = time.monotonic()
        self._channel = ""
        #: What waits in this process, by channel. Layers that do not show it have nothing that we know of.
        self._inboxes: Mapping[str, asyncio.Queue[Any]] = {}

    @property
    def channel(self) -> str:
        """Where it is reached; empty before `enter`."""
        return self._channel

    def silent_for(self) -> float:
        """Seconds since the group last said anything, or since this member was made."""
        return time.monotonic() - self._heard_at

    async def stay(self, group: str) -> None:
        await self.enter()
        tasks = [asyncio.create_task(self._rejoin(group)), asyncio.create_task(self._listen())]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def leave(self) -> None:
        """Have the layer forget its subscriptions and open new connections: it would keep what is sent to a channel that
        nobody reads any more."""
        try:
            await self._layer.flush()
        except Exception as error:
            log.info("group_flush_failed", reason=repr(error))

    async def enter(self) -> None:
        """Get a channel."""
        self._channel = await self._layer.new_channel()
        self._inboxes = getattr(self._layer, "channels", {})

    async def _rejoin(self, group: str) -> None:
        """Join the group again and again, for ever."""
        while True:
            await self._layer.group_add(group, self._channel)
            await asyncio.sleep(REJOIN_S)

    async def _listen(self) -> None:
        while True:
            await self.take()

    async def take(self) -> None:
        """Wait for a message, and hand it over with those that wait behind it. Nothing else is waited for, so an event that
        comes alone is not held up."""
        messages = [await self._layer.receive(self._channel)]
        self._heard_at = time.monotonic()
        self._queue.waiting = self._waiting()
        if self._queue.waiting > MAX_WAITING:
            await self._shed(self._queue.waiting)
        messages += [await self._layer.receive(self._channel) for _ in range(self._waiting())]
        hand_over(messages, self._receiver)

    def _waiting(self) -> int:
        """How many messages wait for this member. The in-memory layer has no queue for a channel that is empty."""
        inbox = self._inboxes.get(self._channel)
        return inbox.qsize() if inbox is not None else 0

    async def _shed(self, waiting: int) -> None:
        """Drop what waits because it is too much: layers put no bound to it, and the journal has it all."""
        log.warning("group_inbox_full", messages=waiting)
        self._queue.dropped += waiting
        for _ in range(waiting):
            await self._layer.receive(self._channel)


class ChannelGroupInbox:
    """Keeps a member in the group.

    A silent group is not always a quiet one: a layer can hold a subscription that Redis has forgotten or refused, on a
    connection that looks alive. So after a silence longer than any heartbeat the layer is begun anew.
    """

    def __init__(self, group: str, silence_s: float = SILENCE_S) -> None:
        self._group = group
        self._silence_s = silence_s
        #: The messages that wait for the hub, as of the last one that it took.
        self.queue = Queue(MAX_WAITING)

    async def run(self, receiver: GroupReceiver) -> None:
        while True:
            try:
                await self._be_member(self._member(receiver))
            except Unavailable as error:
                log.warning("group_lost", reason=str(error))
                await asyncio.sleep(RETRY_S)

    def _member(self, receiver: GroupReceiver) -> Member:
        layer = _layer()
        redis_layer = line_layer(layer)
        if redis_layer is not None:
            return GroupLine(redis_layer, receiver, self.queue)
        return HubMember(layer, receiver, self.queue)

    async def _be_member(self, member: Member) -> None:
        """Until the group is silent. Raises what ends the membership before."""
        membership = asyncio.create_task(member.stay(self._group))
        try:
            while not membership.done() and member.silent_for() < self._silence_s:
                await asyncio.wait((membership,), timeout=self._silence_s - member.silent_for())
            failed = membership.done()
            if not failed:
                log.info("group_silent", seconds=round(member.silent_for()))
        finally:
            membership.cancel()
            await asyncio.wait((membership,), timeout=LEAVE_TIMEOUT_S)
        await member.leave()
        if failed:
            membership.result()
