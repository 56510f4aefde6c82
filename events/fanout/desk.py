"""What operators may ask of a client's process: see everything of it, and act on it."""

import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from events.domain.timestamps import iso
from events.domain.topics import subscription
from events.fanout.hub import Hub
from events.fanout.session import Session
from events.ports import ControlReply, ControlRequest

log = structlog.get_logger("events")

#: Topics that one process tells of, those with the most subscribers.
MAX_TOPICS: Final = 500

#: What a client's connection ends with.
DISCONNECT_REASON: Final = "disconnected by an operator"


class OperatorDesk:
    """Carries out requests on the sessions of one hub, each in one step of the event loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def carry_out(self, request: ControlRequest) -> ControlReply:
        """Never raises; what goes wrong is said in the reply."""
        if request.action == "topics":
            return ControlReply("done", data={"topics": self._hub.listened_topics(MAX_TOPICS)})
        action = _ACTIONS.get(request.action)
        if action is None:
            return ControlReply("refused", f"This server process runs another release and does not know {request.action!r}.")
        session = self._hub.sessions.get(request.sid)
        if session is None:
            return ControlReply("refused", "The client is not connected any more.")
        try:
            reply = action(self, session, request.fields)
        except Exception:
            log.exception("control_failed", sid=session.sid, action=request.action)
            return ControlReply("refused", "The action failed on the server. Its log says why (control_failed).")
        if request.action != "describe":
            log.info("client_controlled", sid=session.sid, action=request.action, outcome=reply.outcome)
            self._hub.counters.count("controlled", request.action)
        return reply

    def _describe(self, session: Session, fields: Mapping[str, str]) -> ControlReply:
        number = self._hub.position.number
        behind = 0 if session.cursor is None else number - session.cursor
        return ControlReply("done", data=session.detail() | {"position": number, "behind": behind})

    def _disconnect(self, session: Session, fields: Mapping[str, str]) -> ControlReply:
        session.disconnect(DISCONNECT_REASON)
        return ControlReply("done")

    def _unsubscribe(self, session: Session, fields: Mapping[str, str]) -> ControlReply:
        topic = fields["topic"]
        if topic not in session.topics:
            return ControlReply("refused", f"The client is not subscribed to {topic}.")
        self._hub.leave(session, topic)
        session.emit("unsubscribed", subscription(topic) | {"reason": "operator"})
        return ControlReply("done")

    def _notice(self, session: Session, fields: Mapping[str, str]) -> ControlReply:
        session.emit("notice", {"level": fields["level"], "message": fields["message"], "timestamp": iso(time.time())})
        return ControlReply("done")


_ACTIONS: Final[dict[str, Callable[[OperatorDesk, Session, Mapping[str, str]], ControlReply]]] = {
    "describe": OperatorDesk._describe,
    "disconnect": OperatorDesk._disconnect,
    "unsubscribe": OperatorDesk._unsubscribe,
    "notice": OperatorDesk._notice,
}
