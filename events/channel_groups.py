"""The Channels channel layer as the fan-out between processes: one group, one member per process.

The layer is at-most-once by contract, so nothing relies on it; see `events.fanout.hub`. The rows of a batch are sent as one
piece of bytes, which we pack ourselves: the in-memory layer deep-copies messages, and bytes cost it nothing.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import msgpack
import structlog
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

    async def enter(self) -> None:
        """Get a channel."""
        self._channel = await self._layer.new_channel()
        self._inboxes = getattr(self._layer, "channels", {})

    async def stay(self, group: str) -> None:
        """Join the group again and again, for ever."""
        while True:
            await self._layer.group_add(group, self._channel)
            await asyncio.sleep(REJOIN_S)

    async def listen(self) -> None:
        """Take one message after the other, for ever."""
        while True:
            await self.take(await self._layer.receive(self._channel))

    async def take(self, message: dict[str, Any]) -> None:
        """Hand a message to the receiver. The method that does it is named after the message's type."""
        self._heard_at = time.monotonic()
        self._queue.waiting = self._waiting()
        await getattr(self, message["type"].replace(".", "_"))(message)

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

    async def events_batch(self, message: dict[str, Any]) -> None:
        """Take a batch, and with it those that wait behind it: what one client gets of them becomes one write. Nothing is
        waited for, so an event that comes alone is not held up. The times are those of the first, which waited longest."""
        if self._queue.waiting > MAX_WAITING:
            await self._shed(self._queue.waiting)
        batch = _unpack(message)
        size = len(message["rows"])
        while self._waiting() and size < MAX_JOINED_BYTES:
            message = await self._layer.receive(self._channel)
            if message["type"] != "events.batch":
                self._receiver.receive(batch)
                await self.take(message)
                return
            following = _unpack(message)
            size += len(message["rows"])
            if following.epoch == batch.epoch and following.first == batch.first + len(batch.entries):
                entries, traces = [*batch.entries, *following.entries], (*batch.traces, *following.traces)
                batch = replace(batch, entries=entries, traces=traces)
            else:
                self._receiver.receive(batch)
                batch = following
        self._receiver.receive(batch)

    async def events_heartbeat(self, message: dict[str, Any]) -> None:
        self._receiver.receive_heartbeat(Position(message["epoch"], message["number"]))

    async def events_gap(self, message: dict[str, Any]) -> None:
        self._receiver.receive_gap(BusGap(**_fields(message)))

    async def events_canary(self, message: dict[str, Any]) -> None:
        self._receiver.receive_canary(Canary(**_fields(message)))


def _fields(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "type"}


class ChannelGroupInbox:
    """Keeps a `HubMember` in the group.

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
            member = HubMember(_layer(), receiver, self.queue)
            membership = asyncio.create_task(self._keep(member))
            try:
                while not membership.done() and member.silent_for() < self._silence_s:
                    await asyncio.wait((membership,), timeout=self._silence_s - member.silent_for())
                failed = membership.done()
                if not failed:
                    log.info("group_silent", seconds=round(member.silent_for()))
            finally:
                membership.cancel()
                await asyncio.wait((membership,), timeout=LEAVE_TIMEOUT_S)
            # Also after a failure: the layer would keep what is sent to a channel that nobody reads any more.
            await self._begin_anew()
            if failed:
                membership.result()

    async def _keep(self, member: HubMember) -> None:
        """Have it in the group and listen, until one of the two fails."""
        await member.enter()
        tasks = [asyncio.create_task(member.stay(self._group)), asyncio.create_task(member.listen())]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _begin_anew(self) -> None:
        """Have the layer forget its subscriptions and open new connections."""
        try:
            await _layer().flush()
        except Exception as error:
            log.info("group_flush_failed", reason=repr(error))
