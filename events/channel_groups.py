"""The Channels channel layer as the fan-out between processes: one group, one member per process.

The layer is at-most-once by contract, so nothing relies on it; see `events.fanout.hub`. The rows of a batch are sent as one
piece of bytes, which we pack ourselves: the in-memory layer deep-copies messages, and bytes cost it nothing.
"""

import asyncio
import time
from dataclasses import asdict, replace
from itertools import chain, repeat
from typing import Any, Final

import msgpack
import structlog
from channels.consumer import AsyncConsumer
from channels.layers import BaseChannelLayer, get_channel_layer

from events.cancellation import heed_cancellation
from events.domain.entry import Entry, Position
from events.ports import Batch, BusGap, Canary, GroupReceiver, Queue, Trace, Unavailable

#: A batch is split so that no message grows past this many bytes of events.
MAX_MESSAGE_BYTES: Final = 512 * 1024

#: Batches that wait are joined until they have this many bytes.
MAX_JOINED_BYTES: Final = 512 * 1024

#: How often the hub joins the group, which costs nothing while it is a member. The memory layer ends a membership after a
#: day, and when a message was not taken for a minute.
REJOIN_S: Final = 5.0

#: After so long without a heartbeat (there is one each second) the membership is made anew.
SILENCE_S: Final = 6.0

#: How long a member may take to leave. It leaves over a connection that may hang.
LEAVE_TIMEOUT_S: Final = 3.0

#: Messages that may wait for the hub; a hub that is so far behind catches up from the journal.
MAX_WAITING: Final = 1_000

log = structlog.get_logger("events")


def _layer() -> BaseChannelLayer:
    layer = get_channel_layer()
    if layer is None:
        raise RuntimeError("CHANNEL_LAYERS has no default layer.")
    return layer


class ChannelGroupSender:
    """Sends batches and heartbeats to the group. Raises `Unavailable` when the layer does not take them."""

    def __init__(self, group: str) -> None:
        self._group = group

    async def send(self, batch: Batch) -> None:
        for part in _split(batch):
            rows = msgpack.packb([entry[1:] for entry in part.entries])
            times = [part.published, part.relayed]
            message = {"type": "events.batch", "epoch": part.epoch, "first": part.first, "rows": rows, "times": times}
            if part.traces:
                message["traces"] = part.traces
            await self._send(message)

    async def heartbeat(self, position: Position) -> None:
        await self._send({"type": "events.heartbeat", "epoch": position.epoch, "number": position.number})

    async def announce(self, gap: BusGap) -> None:
        await self._send({"type": "events.gap", **asdict(gap)})

    async def pass_on(self, canary: Canary) -> None:
        await self._send({"type": "events.canary", **asdict(canary)})

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            with heed_cancellation():
                await _layer().group_send(self._group, message)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"The channel layer did not take a message: {error}") from error
        except Exception as error:
            # Layers raise their client library's own errors, which this module does not know by name.
            raise Unavailable(f"The channel layer failed: {type(error).__name__}: {error}") from error


def _split(batch: Batch) -> list[Batch]:
    """Batches of at most `MAX_MESSAGE_BYTES`, at least one entry each."""
    parts: list[Batch] = []
    first, rows, size = batch.first, list[Entry](), 0
    for entry in batch.entries:
        if rows and size + len(entry.document) > MAX_MESSAGE_BYTES:
            parts.append(_part(batch, first, rows))
            first, rows, size = entry.number, [], 0
        rows.append(entry)
        size += len(entry.document)
    parts.append(_part(batch, first, rows))
    return parts


def _part(batch: Batch, first: int, entries: list[Entry]) -> Batch:
    traces = tuple(trace for trace in batch.traces if first <= trace.number < first + len(entries))
    return replace(batch, first=first, entries=entries, traces=traces)


def _unpack(message: dict[str, Any]) -> Batch:
    rows = msgpack.unpackb(message["rows"], use_list=False)
    entries = [Entry(number, *row) for number, row in enumerate(rows, message["first"])]
    traces = tuple(Trace(*trace) for trace in message.get("traces", ()))
    published, relayed = message["times"]
    return Batch(message["epoch"], message["first"], entries, published, relayed, traces)


class HubConsumer(AsyncConsumer):
    """The group's one member in this process."""

    receiver: GroupReceiver

    def __init__(self, queue: Queue) -> None:
        self._heard_at = time.monotonic()
        self._queue = queue

    def silent_for(self) -> float:
        """Seconds since the group last said anything, or since this member was made."""
        return time.monotonic() - self._heard_at

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Stock dispatch visits the database thread for every message; nothing here touches a database."""
        if message["type"] != "hub.join":
            self._heard_at = time.monotonic()
            self._queue.waiting = self._waiting()
        await getattr(self, message["type"].replace(".", "_"))(message)

    def _waiting(self) -> int:
        """How many messages wait for this member. Layers that do not show it, and the in-memory one whose channel is empty,
        have none that we know of."""
        queue = getattr(self.channel_layer, "channels", {}).get(self.channel_name)
        return queue.qsize() if queue is not None else 0

    async def shed(self) -> None:
        """Drop what waits when it is too much: layers put no bound to it, and the journal has it all."""
        waiting = self._waiting()
        if waiting > MAX_WAITING:
            log.warning("group_inbox_full", messages=waiting)
            self._queue.dropped += waiting
            for _ in range(waiting):
                await self.channel_layer.receive(self.channel_name)

    async def hub_join(self, message: dict[str, Any]) -> None:
        await self.channel_layer.group_add(message["group"], self.channel_name)

    async def events_batch(self, message: dict[str, Any]) -> None:
        """Take a batch, and with it those that wait behind it: what one client gets of them becomes one write. Nothing is
        waited for, so an event that comes alone is not held up. The times are those of the first, which waited longest."""
        await self.shed()
        batch = _unpack(message)
        size = len(message["rows"])
        while self._waiting() and size < MAX_JOINED_BYTES:
            message = await self.channel_layer.receive(self.channel_name)
            if message["type"] != "events.batch":
                self.receiver.receive(batch)
                await self.dispatch(message)
                return
            following = _unpack(message)
            size += len(message["rows"])
            if following.epoch == batch.epoch and following.first == batch.first + len(batch.entries):
                entries, traces = [*batch.entries, *following.entries], (*batch.traces, *following.traces)
                batch = replace(batch, entries=entries, traces=traces)
            else:
                self.receiver.receive(batch)
                batch = following
        self.receiver.receive(batch)

    async def events_heartbeat(self, message: dict[str, Any]) -> None:
        self.receiver.receive_heartbeat(Position(message["epoch"], message["number"]))

    async def events_gap(self, message: dict[str, Any]) -> None:
        self.receiver.receive_gap(BusGap(**_fields(message)))

    async def events_canary(self, message: dict[str, Any]) -> None:
        self.receiver.receive_canary(Canary(**_fields(message)))


def _fields(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "type"}


class ChannelGroupInbox:
    """Keeps a `HubConsumer` in the group.

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
            consumer = HubConsumer(self.queue)
            consumer.receiver = receiver
            member = asyncio.create_task(self._be_member(consumer))
            try:
                while not member.done() and consumer.silent_for() < self._silence_s:
                    await asyncio.wait((member,), timeout=self._silence_s - consumer.silent_for())
                if member.done():
                    await member
                    return
                log.info("group_silent", seconds=round(consumer.silent_for()))
            finally:
                member.cancel()
                await asyncio.wait((member,), timeout=LEAVE_TIMEOUT_S)
            await self._begin_anew()

    async def _be_member(self, consumer: HubConsumer) -> None:
        pauses = chain((0.0,), repeat(REJOIN_S))

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(next(pauses))
            return {"type": "hub.join", "group": self._group}

        async def send(message: dict[str, Any]) -> None:
            raise RuntimeError(f"the hub has no client to send {message['type']} to")

        await consumer({"type": "hub"}, receive, send)

    async def _begin_anew(self) -> None:
        """Have the layer forget its subscriptions and open new connections."""
        try:
            await _layer().flush()
        except Exception as error:
            log.info("group_flush_failed", reason=repr(error))
