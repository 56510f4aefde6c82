"""What a terminal shows of the demo: a line per run, and never more lines than one can read."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import orjson

#: Lines about single runs within one second; what exceeds them is only counted.
LINES_PER_S: Final = 6


class Progress:
    """Counts what was published, and writes about it."""

    def __init__(self, write: Callable[[str], object], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._monotonic = monotonic
        self._began = self._second = monotonic()
        self._lines = self._unwritten = 0
        self._types: Counter[str] = Counter()
        self._failed = 0

    def note(self, document: bytes) -> None:
        """One more event was published."""
        fields: dict[str, Any] = orjson.loads(document)
        self._types[fields["type"]] += 1
        if fields["type"] == "execution_started":
            self._line(f"▶ {fields['execution_id']} started ({fields['bot_id']}, {fields['strategy_id']})")
        elif fields["type"] == "execution_completed":
            failed = fields["status"] == "failed"
            self._failed += failed
            self._line(f"{'✕' if failed else '■'} {fields['execution_id']} {fields['status']} after {fields['duration_ms']} ms")

    def totals(self) -> str:
        """One line about everything so far."""
        seconds = self._monotonic() - self._began
        events, ended = self._types.total(), self._types["execution_completed"]
        running = self._types["execution_started"] - ended
        return (
            f"{events} events in {seconds:.1f} s: {ended} runs ended, {self._failed} of them failed, {running} still running."
        )

    def _line(self, text: str) -> None:
        now = self._monotonic()
        if now - self._second >= 1:
            if self._unwritten:
                self._write(f"  … and {self._unwritten} more; {self._types.total()} events so far")
            self._second, self._lines, self._unwritten = now, 0, 0
        if self._lines < LINES_PER_S:
            self._lines += 1
            self._write(text)
        else:
            self._unwritten += 1
