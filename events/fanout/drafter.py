"""What the relay is about to write, the next step already while one is being written."""

import asyncio
from collections.abc import Sequence

from events.domain.entry import Position
from events.domain.event import Event
from events.fanout.folder import Folder
from events.ports import Append, DeadLetter, History


class Drafter:
    """Makes appends: folds the states that belong to the events, and has the history do what it can do beforehand.

    Store and relay are to work at the same time, so in a backlog the next append is made while the store writes one. It is
    made for the place after that one; when the history turns out to be elsewhere, it is made again.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._folder = Folder(history)
        # Folding reads states where it has to, and two of it must not mix.
        self._turn = asyncio.Lock()
        self._ahead: Append | None = None

    async def forget(self) -> None:
        """Trust nothing that is known: somebody else may have written."""
        async with self._turn:
            self._folder.clear()
            self._ahead = None

    async def draft(
        self,
        fence: int,
        expected: Position,
        source: str,
        cursor: str,
        events: Sequence[Event] = (),
        rejected: Sequence[DeadLetter] = (),
    ) -> Append:
        """The append of a step at the place `expected`. Raises `Unavailable` as `Folder.fold` does."""
        async with self._turn:
            ahead, self._ahead = self._ahead, None
            if ahead is not None and ahead.events is events and (ahead.fence, ahead.expected) == (fence, expected):
                return ahead
            return Append(fence, expected, source, cursor, events, rejected, await self._folder.fold(events, expected))

    async def draft_ahead(self, written: Append, cursor: str, events: Sequence[Event], rejected: Sequence[DeadLetter]) -> None:
        """Make the append that follows the one which is being written now, from the same input, and keep it for `draft`.

        Raises `Unavailable` as `Folder.fold` does; nothing is kept then.
        """
        after = Position(written.expected.epoch, written.expected.number + len(written.events))
        async with self._turn:
            # From anywhere else the states would be read from the history, which does not have those of the write yet.
            if self._folder.stands_before(after):
                states = await self._folder.fold(events, after)
                self._ahead = Append(written.fence, after, written.source, cursor, events, rejected, states)
                self._history.prepare(self._ahead)
