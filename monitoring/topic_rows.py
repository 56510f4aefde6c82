"""The rows of the page "Topics": what clients subscribed to, and what had events lately."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import orjson

from events.control import ListenedTopic
from events.stats import Entry, read_time

#: The rate is that of so many seconds, or of the last events where these do not reach so far back.
RATE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic.

    events:    how many it ever had (its offset); `buffered` are those that a new subscriber gets
    per_s:     events per second lately, by the publishers' timestamps
    last_type, last_at: of its last event; empty where it has none or its text is too long to be told
    """

    name: str
    subscribers: int = 0
    events: int = 0
    buffered: int = 0
    per_s: float = 0.0
    last_type: str = ""
    last_at: str = ""


def topic_rows(listened: Iterable[ListenedTopic], entries: Iterable[Entry], capacity: int, now: float) -> list[TopicRow]:
    """The busiest first. `entries` are the last events, oldest first; `capacity` that of a recent buffer; `now` Unix time."""
    rows = {topic.name: _listened(topic) for topic in listened}
    events = [(entry, orjson.loads(entry.document)) for entry in entries]
    times = [read_time(event["timestamp"]) or now for _, event in events]
    span = min(RATE_S, max(1.0, now - min(times, default=now)))
    for (entry, event), time in zip(events, times, strict=True):
        for name, offset in zip(entry.topics, entry.offsets, strict=True):
            row = rows.get(name) or TopicRow(name)
            rate = row.per_s + (1 / span if now - time <= span else 0.0)
            rows[name] = replace(
                row,
                events=offset,
                buffered=min(offset, capacity),
                per_s=rate,
                last_type=str(event["type"]),
                last_at=str(event["timestamp"]),
            )
    return sorted(rows.values(), key=lambda row: (-row.per_s, -row.subscribers, row.name))


def _listened(topic: ListenedTopic) -> TopicRow:
    return TopicRow(
        topic.name,
        topic.subscribers,
        topic.offset,
        topic.buffered,
        last_type=_field("type", topic.last),
        last_at=_field("timestamp", topic.last),
    )


def _field(name: str, text: str) -> str:
    """A field of an event whose text may be cut."""
    try:
        return str(orjson.loads(text)[name])
    except orjson.JSONDecodeError:
        found = re.search(rf'"{name}"\s*:\s*"([^"\\]{{1,256}})"', text)
        return found[1] if found else ""
