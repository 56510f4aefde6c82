"""What was freed goes back to the system."""

import os
from pathlib import Path

from events.allocator import WORTHWHILE_BYTES, Allocator


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_many_clients_had_goes_back_once() -> None:
    allocator = Allocator()
    assert allocator.available
    # Above what Python keeps in arenas of its own, below what the C library maps for itself.
    buffers = [bytes(2_000) for _ in range(10 * WORTHWHILE_BYTES // 2_000)]
    last = bytes(2_000)
    grown = resident()
    # As during a flood: what is in use now is not free.
    allocator.give_back()
    buffers.clear()
    assert allocator.give_back()
    assert grown - resident() > 5 * WORTHWHILE_BYTES
    assert not allocator.give_back()
    assert len(last) == 2_000
