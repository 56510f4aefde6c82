"""Where a watch is shown: a terminal, a file or pipe, or as JSON for programs."""

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Final, Protocol, Self

from rich.console import Console
from rich.live import Live

from events.watch.board import Board
from events.watch.lines import event_line, notice
from events.watch.view import view
from workflow_events import Event, Item

#: Seconds between two pictures of a terminal.
REFRESH_S: Final = 0.25

#: Lines of events that a terminal shows between two pictures; what exceeds them is only counted.
LINES: Final = 12


class Screen(Protocol):
    """Shows what happens. To be used as a context."""

    def show(self, item: Item) -> None: ...

    def tick(self) -> None:
        """Time has passed."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Terminal:
    """Events as lines that move up, and below them the executions, which stay."""

    def __init__(self, console: Console, url: str, topics: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.board = Board()
        self._console = console
        self._monotonic = monotonic
        self._live = Live(
            console=console, auto_refresh=False, transient=True, get_renderable=lambda: view(self.board, url, topics)
        )
        self._drawn = 0.0
        self._lines = 0

    def show(self, item: Item) -> None:
        self.board.take(item)
        self.tick()
        line = event_line(item) if isinstance(item, Event) else notice(item)
        if line is None:
            return
        self._lines += 1
        if self._lines <= LINES or not isinstance(item, Event):
            self._console.print(line)

    def tick(self) -> None:
        now = self._monotonic()
        if now - self._drawn >= REFRESH_S:
            if self._lines > LINES:
                self._console.print(f"… and {self._lines - LINES} more", style="dim", highlight=False)
            self._drawn, self._lines = now, 0
            self._live.refresh()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()
        self._console.print(f"{self.board.events:,} events, {self.board.missed:,} missed.", highlight=False)


class Lines:
    """One line per event on the output, complete and without colours; everything else on the error output."""

    def __init__(self, output: IO[str], notices: IO[str], *, as_json: bool) -> None:
        self._output = output
        self._notices = notices
        self._as_json = as_json

    def show(self, item: Item) -> None:
        if isinstance(item, Event):
            text = json.dumps(dict(item.fields), ensure_ascii=False) if self._as_json else event_line(item).plain
            self._output.write(f"{text}\n")
            self._output.flush()
        elif (line := notice(item)) is not None:
            self._notices.write(f"{line.plain}\n")
            self._notices.flush()

    def tick(self) -> None:
        """Lines do not change."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to put back."""
