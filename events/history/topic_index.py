"""Which entries of a journal belong to which topic."""

from collections import deque
from collections.abc import Sequence

from events.domain.entry import Entry


class TopicIndex:
    """The entries of each topic but `all`, in order, exactly as long as the journal has them."""

    def __init__(self) -> None:
        self._runs: dict[str, deque[Entry]] = {}

    def add(self, entries: Sequence[Entry]) -> None:
        """Entries that came to the journal, in order."""
        for entry in entries:
            for topic in entry.topics[1:]:
                self._runs.setdefault(topic, deque()).append(entry)

    def drop(self, entry: Entry) -> None:
        """The journal's oldest entry has left it."""
        for topic in entry.topics[1:]:
            run = self._runs.get(topic)
            # A topic that was forgotten and began again has other entries under its name.
            if run and run[0] is entry:
                run.popleft()
                if not run:
                    del self._runs[topic]

    def forget(self, topic: str) -> None:
        """The topic's offsets start again."""
        self._runs.pop(topic, None)

    def after(self, topic: str, offset: int, limit: int) -> list[Entry]:
        """Up to `limit` entries with offsets above `offset`, from the oldest that there is on."""
        run = self._runs.get(topic)
        if not run:
            return []
        start = max(0, offset + 1 - offset_in(run[0], topic))
        return [run[place] for place in range(start, min(start + limit, len(run)))]


def offset_in(entry: Entry, topic: str) -> int:
    """The entry's offset in one of its topics."""
    return entry.offsets[entry.topics.index(topic)]
