"""Refused documents in memory."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import count, islice

from events.conf import HistoryLimits
from events.ports import DeadLetter


class MemoryDeadLetters:
    """Bounded in number and in bytes; the oldest give way. Ids are numbers in the order of arrival."""

    def __init__(self, limits: HistoryLimits) -> None:
        self._limits = limits
        self._letters: dict[int, DeadLetter] = {}
        self._numbers = count(1)
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._letters)

    def add(self, letters: Iterable[DeadLetter]) -> None:
        for letter in letters:
            number = next(self._numbers)
            self._letters[number] = replace(letter, letter_id=str(number))
            self._bytes += len(letter.document)
        while len(self._letters) > self._limits.dead_letters or self._bytes > self._limits.dead_letter_bytes:
            self._drop(next(iter(self._letters)))

    def newest(self, limit: int, before: str) -> list[DeadLetter]:
        if before and _number(before) is None:
            return []
        end = _number(before)
        found = (self._letters[number] for number in reversed(self._letters) if end is None or number < end)
        return list(islice(found, limit))

    def get(self, letter_id: str) -> DeadLetter | None:
        return self._letters.get(_number(letter_id) or 0)

    def discard(self, letter_id: str) -> bool:
        known = self.get(letter_id) is not None
        if known:
            self._drop(int(letter_id))
        return known

    def _drop(self, number: int) -> None:
        self._bytes -= len(self._letters.pop(number).document)


def _number(letter_id: str) -> int | None:
    return int(letter_id) if letter_id.isascii() and letter_id.isdigit() else None
