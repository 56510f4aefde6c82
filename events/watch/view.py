"""The part of the screen that stays: the connection, and the executions that run."""

from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from events.domain.execution import FAILED, RUNNING, Execution
from events.terminal import clean
from events.watch.board import Board

#: Rows of executions that run, and of those that have ended.
MAX_RUNNING: Final = 12
MAX_ENDED: Final = 3

_STATUS_STYLES: Final = {RUNNING: "cyan", "completed": "green", FAILED: "bold red"}


def view(board: Board, url: str, topics: str) -> RenderableType:
    """All of it."""
    return Group(Text(), _head(board, url, topics), _table(board, datetime.now(UTC)))


def _head(board: Board, url: str, topics: str) -> Text:
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append("● ", "green" if board.connected else "bold yellow")
    head.append(f"{clean(board.status)} ", "green" if board.connected else "yellow")
    head.append(f"{url}  ", "dim")
    head.append(clean(topics), "bold")
    head.append(f"  {board.events:,} events  {board.rate:.1f}/s  {len(board.running)} running")
    if board.missed:
        head.append(f"  {board.missed:,} missed", "bold yellow")
    return head


def _table(board: Board, now: datetime) -> RenderableType:
    running = board.running
    rows = [*board.ended(MAX_ENDED), *running[-MAX_RUNNING:]]
    if not rows:
        return Text("No executions yet.", "dim")
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("execution", no_wrap=True, ratio=3)
    table.add_column("status", no_wrap=True)
    table.add_column("nodes", no_wrap=True, width=16)
    table.add_column("", no_wrap=True, justify="right")
    table.add_column("time", no_wrap=True, justify="right")
    table.add_column("now, or what went wrong", no_wrap=True, overflow="ellipsis", ratio=4)
    for execution in rows:
        _add_row(table, execution, now)
    hidden = len(running) - MAX_RUNNING
    return Group(table, Text(f"… and {hidden} more", "dim")) if hidden > 0 else table


def _add_row(table: Table, execution: Execution, now: datetime) -> None:
    style = _STATUS_STYLES.get(execution.status, "magenta")
    done = sum(node.status != RUNNING for node in execution.nodes.values())
    total = max(execution.node_count or 0, len(execution.nodes))
    bar = ProgressBar(max(total, 1), done, complete_style=style, finished_style=style)
    table.add_row(
        Text(clean(execution.execution_id), overflow="ellipsis"),
        Text(clean(execution.status), style),
        bar,
        f"{done}/{total}",
        Text(_elapsed(execution, now), "yellow"),
        _now(execution),
    )


def _now(execution: Execution) -> Text:
    """The nodes that run, or the error."""
    if execution.error:
        return Text(clean(execution.error), "red", overflow="ellipsis")
    names = [node.name or node.node_id for node in execution.nodes.values() if node.status == RUNNING]
    return Text(clean(", ".join(names)), overflow="ellipsis") if execution.status == RUNNING else Text()


def _elapsed(execution: Execution, now: datetime) -> str:
    if execution.duration_ms is not None:
        return f"{execution.duration_ms / 1000:.1f} s"
    try:
        started = datetime.fromisoformat(execution.started or "")
    except ValueError:
        return ""
    started = started if started.tzinfo else started.replace(tzinfo=UTC)
    return f"{max(0.0, (now - started).total_seconds()):.0f} s"
