"""Entries: events with their place in the history."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from events.domain.event import Event
from events.domain.topics import KINDS, kind_of, shared, topic_name

#: How many combinations of topics keep the text of their offsets at hand.
_SUFFIXES: Final = 10_000


class Position(NamedTuple):
    """A place in a history: `number` entries have been written in the life of the history named `epoch`.

    Numbers compare only within one epoch: a history that was lost starts again at 0, and without the epoch a reader
    that had seen 57 would take the new 57 for the one it knows.
    """

    epoch: str
    number: int


class Entry(NamedTuple):
    """One event in the history. A tuple, as each server process makes one per event, also of those that nobody wants there.

    number:   its place in the journal; also its offset in the topic `all`
    document: the JSON object that clients get: the publisher's, with `event_id` and `offsets` at its end
    topics:   `all` first
    offsets:  its number in each of these topics
    """

    number: int
    document: bytes
    topics: tuple[str, ...]
    offsets: tuple[int, ...]


def event_id(position: Position) -> str:
    """The id of the event at a position: unique over all epochs, and it tells the order within one."""
    return f"{position.epoch}-{position.number}"


def stamp(event: Event, position: Position, offsets: Sequence[int]) -> Entry:
    """Give an event its place. The publisher's text is kept byte for byte; two fields are added at its end."""
    suffix = _suffix(event.topics) % (position.epoch.encode(), position.number, *offsets)
    return Entry(position.number, event.document[:-1].rstrip() + suffix, event.topics, tuple(offsets))


@lru_cache(_SUFFIXES)
def _suffix(topics: tuple[str, ...]) -> bytes:
    """The end of an event of these topics; epoch, number and offsets are to be filled in."""
    offsets = ",".join(f'"{kind_of(topic)}":%d' for topic in topics)
    return f',"event_id":"%b-%d","offsets":{{{offsets}}}}}'.encode()


def parse_entry(document: bytes) -> Entry:
    """The entry of a stamped document, as the journal keeps it."""
    fields = orjson.loads(document)
    offsets: dict[str, int] = fields["offsets"]
    topics = tuple(kind if kind not in KINDS else topic_name(kind, fields[f"{kind}_id"]) for kind in offsets)
    return Entry(offsets["all"], document, shared(topics), tuple(offsets.values()))
