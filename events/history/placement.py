"""Which offsets the events of one step get, as far as the writer knows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Self

from events.domain.entry import Entry, Position, stamp
from events.domain.event import Event

#: Topics whose offset a writer remembers.
CAPACITY: Final = 100_000


class Placement(NamedTuple):
    """The events of one step with their places.

    entries: one per event, in order
    before:  the offset that each topic but `all` is taken to have had
    places:  which of the entries are its, counted from 1
    """

    entries: Sequence[Entry]
    before: Mapping[str, int]
    places: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, events: Sequence[Event], position: Position, offset_of: Callable[[str], int]) -> Self:
        """The events follow `position` in the journal; `offset_of` says what a topic is taken to have, 0 for a new one."""
        entries: list[Entry] = []
        places: dict[str, list[int]] = {}
        before: dict[str, int] = {}
        epoch, number = position
        for place, event in enumerate(events, 1):
            given = [number + place]
            for topic in event.topics[1:]:
                own = places.get(topic)
                if own is None:
                    own = places[topic] = []
                    before[topic] = offset_of(topic)
                own.append(place)
                given.append(before[topic] + len(own))
            entries.append(stamp(event, Position(epoch, number + place), given))
        return cls(entries, before, places)

    @property
    def after(self) -> dict[str, int]:
        """The offset of each topic once the step was taken."""
        return {topic: offset + len(self.places[topic]) for topic, offset in self.before.items()}


class KnownOffsets(dict[str, int]):
    """Offsets of topics as they were last seen.

    The history says when one of them is wrong, so they may be forgotten at any time, and are all at once when they become too
    many.
    """

    def learn(self, offsets: Mapping[str, int]) -> None:
        if len(self) + len(offsets) > CAPACITY:
            self.clear()
        self.update(offsets)
