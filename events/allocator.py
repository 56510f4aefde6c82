"""Memory that has become free goes back to the system.

glibc keeps what was freed in the middle of its heap. After a crowd of clients has gone, that is what their messages and buffers
took, and it would stay with the process for as long as it lives.
"""

import asyncio
import ctypes
from typing import Any, Final

#: How often to look, and how many bytes more than could be given back the last time have to be free. To give them back took 0.5
#: to 1.7 ms, under attack as well.
INTERVAL_S: Final = 2.0
WORTHWHILE_BYTES: Final = 1_048_576


class _Info(ctypes.Structure):
    """glibc's `struct mallinfo2`; `fordblks` is the number of free bytes, also of those whose pages were given back."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _c_library() -> Any:
    """What this process is linked to; None where that cannot be asked for."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None


#: glibc's names for how much free memory at the end of its heap it keeps, and for the size from which a block is mapped alone.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3

#: What a process that writes steps keeps: more than a step of the usual size takes. The most that glibc allows.
KEPT_BYTES: Final = 33_554_432


def keep_free_memory() -> None:
    """Have the C library keep `KEPT_BYTES` that are free, where it can be told.

    A process that again and again needs some hundred kilobytes for a moment would else get them from the system each time,
    page by page.
    """
    library: Any = _c_library()
    if hasattr(library, "mallopt"):
        library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(_MMAP_THRESHOLD, KEPT_BYTES)


class Allocator:
    """The C library's allocator. `available` says whether it is one that can be asked: glibc 2.33 or later."""

    def __init__(self) -> None:
        library: Any = _c_library()
        self.available = hasattr(library, "mallinfo2") and hasattr(library, "malloc_trim")
        self._left = 0
        if self.available:
            self._trim = library.malloc_trim
            self._info = library.mallinfo2
            self._info.restype = _Info
            self._left = self._free

    async def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.give_back()

    def give_back(self) -> bool:
        """Give free pages to the system, when there are enough new ones. Takes a millisecond or two then."""
        self._left = min(self._left, self._free)
        if self._free - self._left < WORTHWHILE_BYTES:
            return False
        self._trim(0)
        self._left = self._free
        return True

    @property
    def _free(self) -> int:
        free: int = self._info().fordblks
        return free
