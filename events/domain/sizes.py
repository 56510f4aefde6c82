"""Bounds in bytes on what is handed over at once."""

from collections.abc import Iterable
from typing import Final

#: Documents on one page of a topic: many times what a page of usual events has, and little enough for a backend to gather
#: while others wait.
PAGE_BYTES: Final = 2_000_000

#: Documents that one read takes off the bus: writing them to the history takes far less than a backend's reply timeout.
READ_BYTES: Final = 8_000_000


def count_within(sizes: Iterable[int], most: int) -> int:
    """How many items from the front have `most` bytes together; the first one counts however large it is."""
    count = total = 0
    for size in sizes:
        total += size
        if count and total > most:
            break
        count += 1
    return count
