"""What is said in the group: batches, heartbeats, gaps and canaries as messages of a channel layer, and back.

The rows of a batch are sent as one piece of bytes, which we pack ourselves: the in-memory layer deep-copies messages, and
bytes cost it nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import msgpack

from events.domain.entry import Entry, Position
from events.domain.topics import shared
from events.ports import Batch, BusGap, Canary, GroupReceiver, Trace

#: A batch is split so that no message grows past this many bytes of events.
MAX_MESSAGE_BYTES: Final = 512 * 1024

#: Batches that wait are joined until they have this many bytes.
MAX_JOINED_BYTES: Final = 512 * 1024

Message = dict[str, Any]


def heartbeat_message(position: Position) -> Message:
    return {"type": "events.heartbeat", "epoch": position.epoch, "number": position.number}


def gap_message(gap: BusGap) -> Message:
    return {"type": "events.gap", **asdict(gap)}


def canary_message(canary: Canary) -> Message:
    return {"type": "events.canary", **asdict(canary)}


def batch_messages(batch: Batch) -> list[Message]:
    """A batch, in parts of at most `MAX_MESSAGE_BYTES`, at least one entry each."""
    if len(batch.entries) == 1:
        return [_pack(batch)]
    return [_pack(part) for part in _split(batch)]


def _pack(batch: Batch) -> Message:
    message: Message = {
        "type": "events.batch",
        "epoch": batch.epoch,
        "first": batch.first,
        "rows": msgpack.packb([entry[1:] for entry in batch.entries]),
        "times": [batch.published, batch.relayed],
    }
    if batch.traces:
        message["traces"] = batch.traces
    return message


def _split(batch: Batch) -> list[Batch]:
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
    return batch._replace(first=first, entries=entries, traces=traces)


def hand_over(messages: Sequence[Message], receiver: GroupReceiver) -> None:
    """Give messages to the receiver, in their order.

    Batches that follow each other are given as one, of about `MAX_JOINED_BYTES` at most: what one client gets of them becomes
    one write.
    """
    joined: list[Batch] = []
    size = 0
    for message in messages:
        if message["type"] != "events.batch":
            _give(joined, receiver)
            _RECEIVED[message["type"]](receiver, message)
            continue
        batch = _unpack(message)
        if joined and (size >= MAX_JOINED_BYTES or not _follows(joined[-1], batch)):
            _give(joined, receiver)
        size = len(message["rows"]) + (size if joined else 0)
        joined.append(batch)
    _give(joined, receiver)


def _unpack(message: Message) -> Batch:
    first, rows = message["first"], msgpack.unpackb(message["rows"], use_list=False)
    entries = [Entry(number, text, shared(topics), offsets) for number, (text, topics, offsets) in enumerate(rows, first)]
    traces = tuple([Trace(*trace) for trace in message["traces"]]) if "traces" in message else ()
    published, relayed = message["times"]
    return Batch(message["epoch"], first, entries, published, relayed, traces)


def _follows(before: Batch, batch: Batch) -> bool:
    return batch.epoch == before.epoch and batch.first == before.first + len(before.entries)


def _give(joined: list[Batch], receiver: GroupReceiver) -> None:
    """Give what was joined, if anything, and begin anew. The times are those of the first, which waited longest."""
    if len(joined) > 1:
        entries = [entry for batch in joined for entry in batch.entries]
        traces = tuple(trace for batch in joined for trace in batch.traces)
        receiver.receive(joined[0]._replace(entries=entries, traces=traces))
    elif joined:
        receiver.receive(joined[0])
    joined.clear()


def _heartbeat(receiver: GroupReceiver, message: Message) -> None:
    receiver.receive_heartbeat(Position(message["epoch"], message["number"]))


def _gap(receiver: GroupReceiver, message: Message) -> None:
    receiver.receive_gap(BusGap(**_fields(message)))


def _canary(receiver: GroupReceiver, message: Message) -> None:
    receiver.receive_canary(Canary(**_fields(message)))


def _fields(message: Message) -> Message:
    return {name: value for name, value in message.items() if name != "type"}


_RECEIVED: Final = {"events.heartbeat": _heartbeat, "events.gap": _gap, "events.canary": _canary}
