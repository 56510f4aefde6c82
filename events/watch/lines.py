"""One line of text for each thing that happens."""

from typing import Final

from rich.text import Text

from events.terminal import clean
from workflow_events import Connected, Disconnected, Event, Item, Missed, Subscribed

#: Event type to mark and style.
_LOOKS: Final = {
    "execution_started": ("▶", "bold cyan"),
    "node_started": ("·", "cyan"),
    "node_completed": ("✓", "green"),
    "node_failed": ("✕", "bold red"),
    "execution_completed": ("■", "bold green"),
}

#: What every event has, or what its line shows anyway. Types that the guide does not know show the rest.
_COMMON: Final = frozenset(
    {"type", "execution_id", "workflow_id", "bot_id", "strategy_id", "timestamp", "event_id", "offsets", "node_id", "status"}
    | {"duration_ms", "error", "error_type"}
)

#: Characters that are shown of them.
_OWN_FIELDS: Final = 200


def event_line(event: Event) -> Text:
    """Time, type, workflow, node, and what matters of it."""
    mark, style = _LOOKS.get(event.type, ("◆", "magenta"))
    if event.get("status") == "failed":
        mark, style = "✕", "bold red"
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{clean(_clock(event))}  ", "dim")
    line.append(f"{mark} {clean(event.type):<20} ", style)
    line.append(f"{clean(event.workflow_id)} ")
    line.append(f"{clean(event.execution_id)} ", "dim")
    for name in ("node_id", "status"):
        if event.get(name):
            line.append(f"{clean(event[name])} ", "bold" if name == "node_id" else style)
    if event.get("duration_ms") is not None:
        line.append(f"{clean(event['duration_ms'])} ms ", "yellow")
    if event.get("error"):
        line.append(f"{clean(event.get('error_type', 'error'))}: {clean(event['error'])}", "red")
    if event.type not in _LOOKS:
        line.append(
            clean(" ".join(f"{name}={value}" for name, value in event.fields.items() if name not in _COMMON))[:_OWN_FIELDS]
        )
    line.rstrip()
    return line


def notice(item: Item) -> Text | None:
    """What to say of something that is no event; None for nothing."""
    match item:
        case Connected():
            return Text("connected", "green")
        case Subscribed(resumed=True, recovered=False):
            return Text(f"{clean(item.topic)}: not everything that came meanwhile can be had", "bold yellow")
        case Disconnected():
            return Text(f"disconnected: {clean(item.reason)}; again in {item.retry_in_s:.1f} s", "yellow")
        case Missed():
            which = f"offsets {item.first} to {item.last}" if item.first is not None else f"{item.count or 'some'} events"
            return Text(f"missed: {which} of {clean(item.topic or 'the bus')} ({clean(item.reason)})", "bold yellow")
    return None


def _clock(event: Event) -> str:
    """The time of day by the publisher's clock, as it was written."""
    return str(event["timestamp"])[11:23]
