"""The one door in for code of this project: publish an event, and it is on the bus when the call returns.

    publish({"type": "signal_generated", "execution_id": …, "workflow_id": …, "timestamp": …})

`apublish` is for async code on the server's own loop, `publish_on_commit` for code within a database transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from events.bridge import ask
from events.conf import EventsConfig
from events.domain.event import encode_event, parse_event
from events.ports import Unavailable
from events.wiring import Adapters, ServerProcess, server


def publish(*events: Mapping[str, Any]) -> list[str]:
    """Publish events, in order. Returns the bus's id of each.

    Raises `events.domain.event.InvalidEvent` before anything was published, or `events.ports.Unavailable`.
    """
    return publish_documents(_documents(events))


async def apublish(*events: Mapping[str, Any]) -> list[str]:
    """As `publish`, in async code of a server process."""
    if server.process is None:
        raise Unavailable("No server runs in this process; call publish() in a thread instead.")
    return await server.process.adapters.bus.publish(_documents(events))


def publish_on_commit(*events: Mapping[str, Any]) -> None:
    """Publish when the current database transaction is committed, or at once outside of one. Raises `InvalidEvent` now."""
    documents = _documents(events)
    transaction.on_commit(lambda: publish_documents(documents))


def publish_documents(documents: Sequence[bytes]) -> list[str]:
    """Publish JSON texts that were checked with `parse_event`. Raises `Unavailable`."""

    async def question(adapters: Adapters, process: ServerProcess | None) -> list[str]:
        if process is None and EventsConfig.from_settings().embedded:
            raise Unavailable(
                "This process has no event bus: REDIS_URL is not set, and the embedded server is another process. "
                "Publish over HTTP (POST /api/events/), or set REDIS_URL."
            )
        return await adapters.bus.publish(documents)

    return ask(question)


def _documents(events: Sequence[Mapping[str, Any]]) -> list[bytes]:
    limits = EventsConfig.from_settings().event
    return [parse_event(encode_event(event), limits).document for event in events]
