"""What was published against what came: one check per client and topic.

The publisher numbers its events 1, 2, 3, … and puts them on the bus one after the other, so the order of each topic is known.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass


class Published:
    """The numbers of the events that were published into each topic, in order. Four bytes per event and topic."""

    def __init__(self) -> None:
        self.total = 0
        self._numbers: dict[str, array[int]] = {}

    def add(self, topics: Iterable[str]) -> int:
        """The next event goes into these topics; returns its number. To be called before anybody can have got it."""
        self.total += 1
        for topic in topics:
            self.of(topic).append(self.total)
        return self.total

    def of(self, topic: str) -> "array[int]":
        """The topic's numbers; grows while events are published."""
        return self._numbers.setdefault(topic, array("I"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one stream.

    expected:   events that the client should have got since it subscribed
    delivered:  those that came, each counted once
    lost:       numbers of those that never came and of which it was not told
    told:       those that never came and of which it was told
    doubled:    events that came again
    disordered: events that came after a later one
    stray:      events that are not of this topic, or that nobody published
    """

    expected: int
    delivered: int
    lost: tuple[int, ...]
    told: int
    doubled: int
    disordered: int
    stray: int

    @property
    def clean(self) -> bool:
        """Nothing lost in silence, nothing doubled, nothing out of order, nothing that does not belong."""
        return not (self.lost or self.doubled or self.disordered or self.stray)


class Stream:
    """What one client got of one topic. Takes memory for what is missing, not for what came."""

    def __init__(self, numbers: "array[int]", *, from_start: bool) -> None:
        """`numbers` is what `Published.of` gave. A client that comes later begins with what it gets first: `subscribed`."""
        self._numbers = numbers
        self._first = 0
        self._next: int | None = 0 if from_start else None
        self._begin_by = len(numbers)
        self._missing: set[int] = set()
        self._told: list[tuple[int, int]] = []
        self._excused_from: int | None = None
        self._doubled = self._disordered = self._stray = 0
        self.delivered = 0

    def subscribed(self) -> None:
        """What is published from now on has to come, whether or not there is a replay."""
        if self._next is None:
            self._begin_by = len(self._numbers)

    def take(self, number: int) -> None:
        """An event of the topic has come."""
        at = self._next
        numbers = self._numbers
        if at is not None and at < len(numbers) and numbers[at] == number:
            self._next = at + 1
            self.delivered += 1
        else:
            self._take_unexpected(number)

    def _take_unexpected(self, number: int) -> None:
        index = bisect_left(self._numbers, number)
        if index == len(self._numbers) or self._numbers[index] != number:
            self._stray += 1
            return
        if self._next is None:
            self._first = self._next = min(index, self._begin_by)
        if index >= self._next:
            self._missing.update(range(self._next, index))
            self._next = index + 1
            self.delivered += 1
        elif index in self._missing:
            self._missing.remove(index)
            self._disordered += 1
            self.delivered += 1
        elif index < self._first:
            self._disordered += 1
        else:
            self._doubled += 1

    def has(self, number: int) -> bool:
        """Whether this event has come already."""
        index = bisect_left(self._numbers, number)
        return self._next is not None and self._first <= index < self._next and index not in self._missing

    def tell(self, skip: int, count: int) -> None:
        """The client was told that it misses `count` events. The first of them is the one `skip` places after the next."""
        at = (self._next or 0) + skip
        self._told.append((at, at + count))

    def tell_unknown(self) -> None:
        """The client was told that it misses an unknown number of events, up to what comes live next: see `live`."""
        if self._excused_from is None:
            self._excused_from = self._next or 0

    @property
    def excused(self) -> bool:
        """Whether the end of what the client was told of is still open."""
        return self._excused_from is not None

    def live(self, number: int) -> None:
        """This event came live: what the client was told to miss ends here."""
        self._close_excuse(bisect_left(self._numbers, number))

    @property
    def complete(self) -> bool:
        """Whether the last published event has come."""
        return self._next == len(self._numbers) or (self._next is None and self._begin_by == len(self._numbers))

    def verdict(self) -> Verdict:
        """To be asked when nothing is published any more and nothing can come any more."""
        begun = self._begin_by if self._next is None else self._next
        end = len(self._numbers)
        self._close_excuse(end)
        absent = self._missing | set(range(begun, end))
        told = {index for first, beyond in self._told for index in absent if first <= index < beyond}
        expected = end - (begun if self._next is None else self._first)
        lost = tuple(self._numbers[index] for index in sorted(absent - told))
        return Verdict(expected, self.delivered, lost, len(told), self._doubled, self._disordered, self._stray)

    def _close_excuse(self, beyond: int) -> None:
        if self._excused_from is not None:
            self._told.append((self._excused_from, beyond))
            self._excused_from = None
