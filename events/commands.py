"""What clients may ask for, on every transport: the guide's commands, and the spellings that deployed dashboards use."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from events.access.attempts import TooManyAttempts, attempt
from events.access.authority import Authority
from events.access.refusal import TokenRefused
from events.conf import EventsConfig
from events.domain import errors
from events.domain.errors import CommandError, ErrorKind
from events.domain.grants import METRICS, NOTHING, OPEN, Grant
from events.domain.timestamps import iso
from events.domain.topics import ALL, ALL_BOTS, KINDS, subscription, topic_name
from events.fanout import notices
from events.fanout.hub import Hub
from events.fanout.session import ANSWERS_UNREAD, Session
from events.fanout.wire import Pipe
from events.limits.tally import Tally
from events.ports import Unavailable
from events.subscribe import Subscriber, check_filters, parse_options
from events.turns import Turns

log = structlog.get_logger("events")

Payload = dict[str, Any]

#: Characters of a token. Signed tokens with many claims have some thousand.
MAX_TOKEN_LENGTH = 8_192
Command = Callable[["CommandHandler", Session, Any], Awaitable[Payload]]

_CAMEL_CASE = {f"{kind}_id": f"{kind}Id" for kind in KINDS}


class CommandHandler:
    """Carries out the commands of the sessions of one server process.

    A command answers by events to its client (`subscribed`, `auth_response`, …); what `handle` returns besides is the body
    of the answer, for transports on which a client can ask for an acknowledgement.
    """

    def __init__(self, hub: Hub, config: EventsConfig, authority: Authority, stats: Callable[[], Awaitable[Payload]]) -> None:
        self._hub = hub
        self._config = config
        self._authority = authority
        self._stats = stats
        # Commands of all clients begin in turns: between them, events are delivered.
        self._turns = Turns()
        self._subscriber = Subscriber(hub, self._turns)
        self._unauthenticated: dict[str, asyncio.TimerHandle] = {}
        # The connections of each token, and the token of each connection.
        self._connections = Tally(config.access.connections, config.access.per_token)
        self._held: dict[str, str] = {}
        #: Sessions with a grant of a token, by sid; nobody where no token is required.
        self.granted: dict[str, Session] = {}

    # -- life of a session ----------------------------------------------------------------------------------------------

    async def connect(self, session: Session, auth: Mapping[str, Any]) -> None:
        """Greet a client. A token in the connection's own `auth` payload counts as `authenticate`."""
        session.grant = None if self._config.require_auth else OPEN
        self._hub.add(session)
        log.info(
            "client_connected", sid=session.sid, transport=session.transport, address=session.client.address,
            total_connections=len(self._hub.sessions),
        )  # fmt: skip
        session.emit(
            "connected",
            {
                "sid": session.sid,
                "message": "Connected to workflow events",
                "auth_required": self._config.require_auth,
                "server_time": iso(time.time()),
            },
        )
        if self._hub.emergency.state != "normal":
            session.emit("emergency_state", notices.emergency(self._hub.emergency))
        if "token" in auth:
            session.pipe.release()
            await self.handle(session, "authenticate", auth)
        if self._config.require_auth:
            self._expect_authentication(session)

    def _expect_authentication(self, session: Session) -> None:
        """Whoever does not authenticate holds a connection for nothing, and is put out after a while."""
        self._expect_nothing(session)
        left_s = session.unknown_since + self._config.access.auth_s - time.monotonic()
        timer = asyncio.get_running_loop().call_later(left_s, self._put_out, session)
        self._unauthenticated[session.sid] = timer

    def _expect_nothing(self, session: Session) -> None:
        timer = self._unauthenticated.pop(session.sid, None)
        if timer is not None:
            timer.cancel()

    def _put_out(self, session: Session) -> None:
        self._unauthenticated.pop(session.sid, None)
        if session.closed or session.authenticated:
            return
        self._hub.counters.count("refused", "authentication_timeout")
        message = f"You did not authenticate within {self._config.access.auth_s:g} s (WS_AUTH_TIMEOUT_S). Connect again."
        self.refuse(session, CommandError(errors.AUTHENTICATION_TIMEOUT, message).payload())
        session.disconnect("client did not authenticate in time")

    def upgrade(self, session: Session, pipe: Pipe) -> None:
        """A client of long-polling has a WebSocket from now on."""
        session.pipe, session.transport = pipe, "websocket"
        self._hub.changed.set()

    async def disconnect(self, session: Session, reason: str) -> None:
        """Forget a client."""
        if reason == ANSWERS_UNREAD:
            self._hub.counters.count("overflows", "client_answers")
        self._expect_nothing(session)
        self._release(session)
        self.granted.pop(session.sid, None)
        self._hub.remove(session)
        log.info(
            "client_disconnected", sid=session.sid, reason=reason, events_sent=session.sent,
            seconds=round(time.time() - session.connected_at, 1), total_connections=len(self._hub.sessions),
        )  # fmt: skip

    async def handle(self, session: Session, name: str, data: Any = None) -> Payload:
        """Carry out one command. Never raises: what goes wrong becomes an `error` event, and the answer."""
        await self._turns.take()
        if session.closed:
            return {}
        try:
            self._check_rate(session)
            command = _COMMANDS.get(name)
            if command is None:
                known = ", ".join(sorted(_COMMANDS))
                message = f"Unknown command {name[:64]!r}. Known commands: {known}."
                raise CommandError(errors.UNKNOWN_COMMAND, message, "event")
            answer = await command(self, session, data)
            session.note_command(name[:64], _subject(data), "")
            return answer
        except CommandError as error:
            payload = error.payload()
        except Unavailable:
            message = "The store behind the server cannot be reached. Try again in a few seconds."
            payload = CommandError(errors.HISTORY_UNAVAILABLE, message).payload()
        except Exception:
            log.exception("command_failed", sid=session.sid, command=name[:64])
            payload = CommandError(errors.INTERNAL_ERROR, "The command failed on the server. Try again.").payload()
        session.note_command(name[:64], _subject(data), str(payload["code"]))
        return self.refuse(session, payload)

    def refuse(self, session: Session, payload: Payload) -> Payload:
        """Tell a client what was wrong."""
        self._hub.counters.errors += 1
        self._hub.counters.count("errors", str(payload["code"]))
        session.last_error = (time.time(), payload)
        session.emit("error", payload)
        return payload

    # -- what a session may do ------------------------------------------------------------------------------------------

    def regrant(self, session: Session, grant: Grant) -> None:
        """Give a client another grant. Subscriptions that it covers go on as if nothing had happened; the others end."""
        session.authenticated = True
        # Where no token is required everybody may do everything, whatever token was given.
        session.grant = grant if self._config.require_auth else OPEN
        if session.grant is not OPEN:
            self.granted[session.sid] = session
        self._end_uncovered(session, errors.INSUFFICIENT_SCOPE)

    def withdraw(self, session: Session, kind: ErrorKind) -> None:
        """Take a client's grant away. It stays connected, and has as long as a new client to give another token."""
        log.info("grant_withdrawn", sid=session.sid, token_id=(session.grant or NOTHING).token_id, reason=kind.code)
        session.grant, session.authenticated, session.unknown_since = None, False, time.monotonic()
        self.granted.pop(session.sid, None)
        self._hub.counters.count("withdrawn", kind.code)
        self.refuse(session, CommandError(kind, _WITHDRAWN[kind]).payload())
        self._end_uncovered(session, kind)
        self._expect_authentication(session)

    def _end_uncovered(self, session: Session, kind: ErrorKind) -> None:
        self._hub.changed.set()
        for topic in list(session.topics):
            if not session.may_subscribe(topic):
                self._hub.leave(session, topic)
                session.emit("subscription_revoked", subscription(topic) | {"code": kind.code})

    # -- commands -------------------------------------------------------------------------------------------------------

    async def _authenticate(self, session: Session, data: Any) -> Payload:
        token = _object(data, "token").get("token")
        try:
            with attempt(session.client.address, self._config, _token_in(token)) as check:
                grant = await self._identify(session, token, check)
        except TooManyAttempts as refusal:
            self._hub.counters.count("refused", "attempts")
            raise CommandError(errors.TOO_MANY_ATTEMPTS, str(refusal), "token", retry_after=refusal.wait_s) from None
        except TokenRefused as refusal:
            # A token that was right stays right: a later wrong one is refused, and changes nothing.
            answer: Payload = {"success": False, "message": "Invalid token", "code": refusal.reason.value}
            self._hub.counters.count("authentications", refusal.reason.value)
            log.info("client_refused", sid=session.sid, reason=refusal.reason.value)
            session.emit("auth_response", answer)
            return answer
        if session.closed:
            # It went while its token was checked, and `disconnect` has released what it held.
            return {}
        self._hold(session, grant)
        answer = {"success": True, "message": "Authentication successful"}
        if grant.expires_at is not None:
            answer["expires_at"] = iso(grant.expires_at)
        self._hub.counters.count("authentications", "valid")
        log.info("client_authenticated", sid=session.sid, token_id=grant.token_id)
        session.emit("auth_response", answer)
        self.regrant(session, grant)
        return answer

    async def _identify(self, session: Session, token: Any, check: Callable[[], None]) -> Grant:
        if not self._config.require_auth and not self._config.auth_tokens and not self._config.jwt.enabled:
            return OPEN
        try:
            return await self._authority.identify(_checked_token(token), check)
        except Unavailable as error:
            log.warning("authentication_unavailable", sid=session.sid, reason=str(error))
            message = "Your token cannot be checked now. Try again in a few seconds."
            raise CommandError(errors.AUTHENTICATION_UNAVAILABLE, message) from error

    def _hold(self, session: Session, grant: Grant) -> None:
        """Count this connection as one of its token's."""
        held = self._held.get(session.sid)
        if grant is OPEN or held == grant.token_id:
            return
        if self._connections.is_full_for(grant.token_id):
            self._hub.counters.count("refused", "connections_per_token")
            limit = self._config.access.per_token
            message = f"The token has {limit} connections, as many as it may have (WS_MAX_CONNECTIONS_PER_TOKEN)."
            raise CommandError(errors.TOO_MANY_CONNECTIONS, message, "token")
        self._release(session)
        self._held[session.sid] = grant.token_id
        self._connections.enter(grant.token_id)

    def _release(self, session: Session) -> None:
        held = self._held.pop(session.sid, None)
        if held is not None:
            self._connections.leave(held)

    async def _subscribe(self, session: Session, topic: str, data: Any) -> Payload:
        self._require(session, topic)
        options = parse_options(data, session.limits.id_length)
        if topic not in session.topics and len(session.topics) >= session.limits.subscriptions:
            limit = session.limits.subscriptions
            raise CommandError(
                errors.TOO_MANY_SUBSCRIPTIONS,
                f"A client may have {limit} subscriptions (WS_MAX_SUBSCRIPTIONS). Unsubscribe from something first.",
            )
        if options.types is not None:
            check_filters(session, topic, options.types)
        return await self._subscriber.subscribe(session, topic, options)

    async def _unsubscribe(self, session: Session, topic: str) -> Payload:
        self._hub.leave(session, topic)
        answer = subscription(topic)
        session.emit("unsubscribed", answer)
        log.info("client_unsubscribed", sid=session.sid, topic=topic)
        return answer

    async def _unsubscribe_typed(self, session: Session, data: Any) -> Payload:
        kind = _object(data, "type").get("type")
        if kind == ALL_BOTS:
            return await self._unsubscribe(session, ALL)
        if kind is None:
            raise CommandError(errors.MISSING_FIELD, f"type is missing: one of {', '.join(KINDS)}, {ALL_BOTS}.", "type")
        if kind not in KINDS:
            raise CommandError(errors.INVALID_FIELD, f"type must be one of {', '.join(KINDS)}, {ALL_BOTS}.", "type")
        return await self._unsubscribe(session, self._topic(kind, data))

    async def _request_stats(self, session: Session, data: Any) -> Payload:
        self._require(session, METRICS)
        answer = await self._stats()
        session.emit("stats_update", answer)
        return answer

    # -- checks ---------------------------------------------------------------------------------------------------------

    def _granted(self, session: Session, **needed: str) -> Grant:
        """What a client may do. Raises `CommandError` when a token is required and it has given none."""
        if session.grant is None:
            raise CommandError(errors.AUTHENTICATION_REQUIRED, "Authentication required", **needed)
        return session.grant

    def _require(self, session: Session, scope: str) -> None:
        """Raises `CommandError` unless the client may do what needs this scope: a topic, or `metrics`."""
        needed = {"needed": scope} if scope == METRICS else {"topic": scope, "needed": scope}
        if not self._granted(session, **needed).allows(scope):
            message = f"The scope {scope} is needed for that; your token does not have it."
            raise CommandError(errors.INSUFFICIENT_SCOPE, message, **needed)

    def _check_rate(self, session: Session) -> None:
        wait_s = session.allowance.take(time.monotonic())
        if wait_s:
            self._hub.counters.count("refused", "messages")
            message = (
                f"More than {session.limits.messages_per_s:g} messages per second (WS_CLIENT_MESSAGES_PER_S). "
                f"This one was not carried out: send it again in {wait_s:.2f} s. A client that goes on is disconnected."
            )
            raise CommandError(errors.RATE_LIMITED, message)

    def _topic(self, kind: str, data: Any) -> str:
        field = f"{kind}_id"
        fields = _object(data, field)
        value = fields.get(field)
        if value is None:
            value = fields.get(_CAMEL_CASE[field])
        limit = self._config.session.id_length
        if value is None:
            raise CommandError(errors.MISSING_FIELD, f"{field} is missing.", field)
        if not isinstance(value, str):
            raise CommandError(errors.INVALID_FIELD, f"{field} must be a string.", field)
        if not value.strip():
            raise CommandError(errors.INVALID_FIELD, f"{field} must not be empty.", field)
        if len(value) > limit:
            raise CommandError(errors.INVALID_FIELD, f"{field} has {len(value)} characters; at most {limit} are taken.", field)
        return topic_name(kind, value)


def _object(data: Any, field: str) -> Mapping[str, Any]:
    """The payload of a command that cannot do without a field."""
    if not isinstance(data, dict):
        raise CommandError(errors.INVALID_PAYLOAD, f"The payload must be a JSON object with the field {field}.", field)
    return data


def _subject(data: Any) -> str:
    """What a command was about: the id or the type that it named."""
    if not isinstance(data, dict):
        return ""
    named = (data.get(field) for field in (*_CAMEL_CASE, *_CAMEL_CASE.values(), "type"))
    return next((value for value in named if isinstance(value, str)), "")


#: What a client is told that loses its grant.
_WITHDRAWN = {
    errors.TOKEN_EXPIRED: "Your token has expired. Authenticate with a new one and subscribe again.",
    errors.TOKEN_REVOKED: "Your token was revoked. Authenticate with another one and subscribe again.",
}


def _token_in(token: Any) -> str:
    """What may be a token; empty for anything else."""
    return token if isinstance(token, str) and len(token) <= MAX_TOKEN_LENGTH else ""


def _checked_token(token: Any) -> str:
    if token is None:
        raise CommandError(errors.MISSING_FIELD, "token is missing.", "token")
    if not isinstance(token, str) or not token:
        raise CommandError(errors.INVALID_FIELD, "token must be a string, and not empty.", "token")
    if not _token_in(token):
        message = f"token has {len(token)} characters; at most {MAX_TOKEN_LENGTH} are taken."
        raise CommandError(errors.INVALID_FIELD, message, "token")
    return token


def _subscribe_to(kind: str) -> Command:
    async def subscribe(handler: CommandHandler, session: Session, data: Any) -> Payload:
        try:
            topic = handler._topic(kind, data)
        except CommandError:
            # First of all a token is asked for, whatever else is wrong.
            handler._granted(session)
            raise
        return await handler._subscribe(session, topic, data)

    return subscribe


def _unsubscribe_from(kind: str) -> Command:
    async def unsubscribe(handler: CommandHandler, session: Session, data: Any) -> Payload:
        return await handler._unsubscribe(session, handler._topic(kind, data))

    return unsubscribe


async def _subscribe_all(handler: CommandHandler, session: Session, data: Any) -> Payload:
    return await handler._subscribe(session, ALL, data)


async def _unsubscribe_all(handler: CommandHandler, session: Session, data: Any) -> Payload:
    return await handler._unsubscribe(session, ALL)


_COMMANDS: dict[str, Command] = {
    "authenticate": CommandHandler._authenticate,
    **{f"subscribe_{kind}": _subscribe_to(kind) for kind in KINDS},
    f"subscribe_{ALL_BOTS}": _subscribe_all,
    "unsubscribe": CommandHandler._unsubscribe_typed,
    **{f"unsubscribe_{kind}": _unsubscribe_from(kind) for kind in KINDS},
    f"unsubscribe_{ALL_BOTS}": _unsubscribe_all,
    "request_stats": CommandHandler._request_stats,
}
