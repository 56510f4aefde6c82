"""The one way to act on clients from outside, whichever process they are connected to. `monitoring` imports nothing else."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import orjson
import structlog

from events.bridge import ask
from events.conf import EventsConfig
from events.domain.event import InvalidEvent, parse_event
from events.emergency import EMERGENCY_STATES, REASON_LENGTH, Emergency, InvalidEmergency, emergencies, set_emergency
from events.ports import ControlReply, ControlRequest, Unavailable
from events.wiring import Adapters, ServerProcess

__all__ = [
    "EMERGENCY_STATES",
    "LETTER_GONE",
    "NOTICE_LENGTH",
    "REASON_LENGTH",
    "ClientDetail",
    "CommandNote",
    "ControlReply",
    "Emergency",
    "InvalidEmergency",
    "ListenedTopic",
    "Unavailable",
    "describe",
    "discard",
    "disconnect",
    "emergencies",
    "listened_topics",
    "republish",
    "send_notice",
    "set_emergency",
    "unsubscribe",
]

log = structlog.get_logger("events")

#: How long the process that owns a client has to say that it did what was asked.
WAIT_S: Final = 2.0

LETTER_GONE: Final = "This dead letter is not kept any more."

#: Characters of a notice.
NOTICE_LENGTH: Final = 500

NoticeLevel = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class CommandNote:
    """One command of a client. `at` is Unix time, `subject` the id or type that it named, `error` the code of the answer
    if it was refused."""

    at: float
    name: str
    subject: str
    error: str


@dataclass(frozen=True, slots=True)
class SubscribedTopic:
    """One subscription. `types` are the event types that the client wants; None for all."""

    topic: str
    types: list[str] | None


@dataclass(frozen=True, slots=True)
class ClientDetail:
    """Everything that is known of one client.

    position: the number of the last event that its process has seen
    cursor:   None while the client is live; else the number of the last event that it was served
    behind:   events between the two
    gaps:     times that it was told to have missed events; `missed` is how many, as far as that could be known
    replays:  `recent_events` that it was sent
    last_error: body of the last `error` that it was sent, and when
    commands: its last commands, newest first
    """

    sid: str
    process: str
    transport: str
    address: str
    user_agent: str
    connected_at: float
    authenticated: bool
    token_id: str
    token_name: str
    subscriptions: list[SubscribedTopic]
    sent: int
    backlog_bytes: int
    lagging: bool
    position: int
    cursor: int | None
    behind: int
    gaps: int
    missed: int
    replays: int
    last_error: dict[str, Any] | None
    last_error_at: float | None
    commands: list[CommandNote]


def describe(sid: str) -> ClientDetail | ControlReply:
    """All about a client, or the reply that says why there is nothing. Raises `Unavailable`, as all functions here do, and as
    they may be called from any thread but not on the event loop."""
    process, reply = _ask(ControlRequest("describe", sid))
    return _detail(process, reply.data) if reply.outcome == "done" else reply


def disconnect(sid: str) -> ControlReply:
    """End a client's connection. Most client programs connect again by themselves."""
    return _ask(ControlRequest("disconnect", sid))[1]


def unsubscribe(sid: str, topic: str) -> ControlReply:
    """Take a subscription from a client; it is told by `unsubscribed`."""
    return _ask(ControlRequest("unsubscribe", sid, {"topic": topic}))[1]


def send_notice(sid: str, message: str, level: NoticeLevel) -> ControlReply:
    """Send a client the event `notice`."""
    return _ask(ControlRequest("notice", sid, {"message": message, "level": level}))[1]


def republish(letter_id: str) -> ControlReply:
    """Publish a dead letter again as it was, and forget it. Only if it is an event now: the limits may have changed."""

    async def act(adapters: Adapters, process: ServerProcess | None) -> ControlReply:
        letter = await adapters.history.dead_letter(letter_id)
        if letter is None:
            return ControlReply("refused", LETTER_GONE)
        if not letter.whole:
            return ControlReply("refused", "The document was too large to be kept whole. Publish it from its source.")
        try:
            event = parse_event(letter.document, EventsConfig.from_settings().event)
        except InvalidEvent as error:
            return ControlReply("refused", f"It would be refused again: {error.message}")
        # In this order it may come twice when Redis fails in between, and is never lost.
        await adapters.bus.publish([letter.document])
        await adapters.history.discard(letter_id)
        log.info("dead_letter_republished", letter_id=letter_id, execution_id=event.fields["execution_id"])
        return ControlReply("done")

    return ask(act)


def discard(letter_id: str) -> ControlReply:
    """Forget a dead letter."""

    async def act(adapters: Adapters, process: ServerProcess | None) -> ControlReply:
        found = await adapters.history.discard(letter_id)
        return ControlReply("done") if found else ControlReply("refused", LETTER_GONE)

    return ask(act)


@dataclass(frozen=True, slots=True)
class ListenedTopic:
    """A topic that clients of some process subscribed to. `last` is the text of its last event; one that is long is cut."""

    name: str
    subscribers: int
    offset: int
    buffered: int
    last: str


def listened_topics() -> tuple[list[ListenedTopic], list[str]]:
    """Of each server process the 500 topics with the most subscribers, added up; and the processes that did not answer."""

    async def read(adapters: Adapters, process: ServerProcess | None) -> tuple[list[ListenedTopic], list[str]]:
        reports = await adapters.registry.reports()
        names = [report.process for report in reports if report.kind == ServerProcess.kind]
        request = ControlRequest("topics", "")
        replies = await asyncio.gather(*(adapters.control.ask(name, request, WAIT_S) for name in names))
        found = (ListenedTopic(*topic) for reply in replies for topic in reply.data.get("topics", ()))
        silent = [name for name, reply in zip(names, replies, strict=True) if reply.outcome != "done"]
        return _added_up(found), silent

    return ask(read, 2 * WAIT_S)


def _added_up(topics: Iterable[ListenedTopic]) -> list[ListenedTopic]:
    """One per name: the subscribers of all, and the rest as the process that is furthest tells it."""
    known: dict[str, ListenedTopic] = {}
    for topic in topics:
        other = known.get(topic.name)
        if other is not None:
            furthest = max(topic, other, key=lambda each: each.offset)
            topic = replace(furthest, subscribers=topic.subscribers + other.subscribers)
        known[topic.name] = topic
    return list(known.values())


def _ask(request: ControlRequest) -> tuple[str, ControlReply]:
    """The process that owns the client, and its reply."""

    async def answer(adapters: Adapters, process: ServerProcess | None) -> tuple[str, ControlReply]:
        owner = await _owner(request.sid, adapters, process)
        if not owner:
            return "", ControlReply("refused", "The client is not connected any more.")
        return owner, await adapters.control.ask(owner, request, WAIT_S)

    question: Callable[[Adapters, ServerProcess | None], Awaitable[tuple[str, ControlReply]]] = answer
    return ask(question, 2 * WAIT_S)


async def _owner(sid: str, adapters: Adapters, process: ServerProcess | None) -> str:
    """The name of the process that a client is connected to; empty when no process has it."""
    if process is not None and sid in process.hub.sessions:
        return process.name
    row = await adapters.registry.client(sid)
    return str(orjson.loads(row)["process"]) if row is not None else ""


def _detail(process: str, data: dict[str, Any]) -> ClientDetail:
    subscriptions = [SubscribedTopic(*pair) for pair in data.pop("subscriptions")]
    commands = [CommandNote(*note) for note in data.pop("commands")]
    return ClientDetail(process=process, subscriptions=subscriptions, commands=commands, **data)
