"""Ctrl-C and SIGTERM: they end the benchmark, but not between the start of a program and the moment it is known to be ended."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Turns both signals into one `KeyboardInterrupt`. A second one would leave behind what the first one ends."""

    def __init__(self) -> None:
        self._held = False
        self._came = False

    def listen(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._take)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """What comes in the block interrupts at its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._came:
            raise KeyboardInterrupt

    def _take(self, number: int, frame: object) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self._came = True
        if not self._held:
            raise KeyboardInterrupt


#: There is one pair of signals per process.
interrupts: Final = Interrupts()
