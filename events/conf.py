"""The settings of this package, typed and frozen. `wsproject/settings.py` fills them from the environment."""

from dataclasses import dataclass, field
from typing import Final

from events.domain.event import EventLimits
from events.limits.address import Network
from events.limits.rate import Rate

#: What executors publish to: the Redis Stream and the Redis pub/sub channel of this name.
BUS_NAME: Final = "workflow_events"

#: The channel layer group that carries every event to every server process.
GROUP_NAME: Final = "workflow_events"

#: What a client may send at once, in seconds of its rate: a dashboard that reconnects has many subscriptions to renew.
BURST_S: Final = 10.0

#: Control frames and small fragments that it may send at once in any case: those of a while in which it was not read.
FRAMES_AT_ONCE: Final = 100.0


#: How a login may sign its tokens. `none` is not one of them.
JWT_ALGORITHMS: Final = (
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much history is kept.

    recent_events:     events in the recent buffer of each topic (the guide's `max_recent_events`)
    recent_ttl_s:      a topic without events for so long loses its recent buffer
    journal_events:    entries in the journal; the journal is what holes are repaired from
    journal_age_s:     entries older than this leave the journal
    offset_ttl_s:      a topic without events for so long starts again at offset 1
    dead_letters:      refused documents kept, and dead_letter_bytes: how much of them in all; the oldest give way
    executions:        executions whose state is kept; the one without events for longest gives way
    executions_per_topic: executions that a topic lists; also what one snapshot looks at
    execution_ttl_s:   an execution without events for so long is forgotten
    """

    recent_events: int = 100
    recent_ttl_s: int = 86_400
    journal_events: int = 100_000
    journal_age_s: int = 86_400
    offset_ttl_s: int = 30 * 86_400
    dead_letters: int = 10_000
    dead_letter_bytes: int = 67_108_864
    executions: int = 10_000
    executions_per_topic: int = 200
    execution_ttl_s: int = 86_400


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds on one client.

    buffer_bytes:     unsent output above which a client counts as lagging: it is caught up from history, not buffered for
    drain_deadline_s: a lagging client that takes nothing at all for so long is disconnected
    subscriptions:    topics that one client may subscribe to
    id_length:        characters of an id
    messages_per_s:   messages that it may send, and ten seconds' worth of them at once
    """

    buffer_bytes: int = 1_048_576
    drain_deadline_s: float = 30.0
    subscriptions: int = 1_000
    id_length: int = 256
    messages_per_s: float = 100.0

    @property
    def flood(self) -> Rate:
        """A client that sends this much, although it is told to slow down, is disconnected."""
        return self.messages.times(2)

    @property
    def frames(self) -> Rate:
        """Control frames and small fragments of a WebSocket. Nobody has a reason to send many of them at once, and who is cut
        for it may come back: so only few are read each time."""
        return Rate(self.flood.per_s, max(self.flood.per_s, FRAMES_AT_ONCE))

    @property
    def messages(self) -> Rate:
        """Commands that are carried out."""
        return Rate(self.messages_per_s, self.messages_per_s * BURST_S)


@dataclass(frozen=True, slots=True)
class AccessLimits:
    """Bounds on who may come in, per server process.

    connections:   clients at a time
    per_address:   … of one address (an IPv6 network of 64 bits counts as one; the machine itself is not limited)
    new_per_s:     new ones of one address per second
    per_token:     … that authenticated with one token
    head_bytes:    a request line and its headers
    request_s:     a request has to be there, head and body, within so long
    auth_s:        where authentication is required, a client has to be done with it within so long
    auth_failures: wrong tokens of one address that cost it nothing; after that it has to wait, longer each time
    publish_per_s: events that one address may publish over HTTP
    requests_per_address: requests of one address that are worked on at once, long-polling apart
    """

    connections: int = 20_000
    per_address: int = 1_000
    new_per_s: float = 250.0
    per_token: int = 10_000
    head_bytes: int = 16_384
    request_s: float = 30.0
    auth_s: float = 60.0
    auth_failures: int = 10
    publish_per_s: float = 5_000.0
    requests_per_address: int = 8

    @property
    def new_at_once(self) -> float:
        """New ones of one address that may come at once: as many as it may have, or as come in a second."""
        return max(self.new_per_s, self.per_address)


@dataclass(frozen=True, slots=True)
class JwtConfig:
    """How signed tokens of the platform's login are checked (`events.access.signed`).

    secret:      for HMAC; public_key: in PEM form; one of the two, or neither
    algorithms:  empty for the usual one of the key's kind
    audience, issuer: of which a token must name one; empty for any
    scope_claim: where the scopes are
    leeway_s:    by how much clocks may differ
    """

    secret: str = field(default="", repr=False)
    public_key: str = field(default="", repr=False)
    algorithms: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    issuer: tuple[str, ...] = ()
    scope_claim: str = "scope"
    leeway_s: float = 10.0

    @property
    def enabled(self) -> bool:
        return bool(self.secret or self.public_key)


@dataclass(frozen=True, slots=True)
class TracingConfig:
    """Where traces go (`events.tracing`).

    endpoint: the collector's base address; empty for no traces
    headers:  `name=value` pairs for it, separated by commas
    service:  what this server is called there
    share:    of the events without a `traceparent`, how many are traced; 0 to 1
    """

    endpoint: str = ""
    headers: str = field(default="", repr=False)
    service: str = "wsserver"
    share: float = 0.01


@dataclass(frozen=True, slots=True)
class EventsConfig:
    """Everything `events.wiring` needs to build a process.

    delivery_interval_ms: the least time between two steps of the relay (`events.fanout.relay`); 0: none
    trusted_proxies: None where clients connect directly; else the networks of the proxies whose headers are believed, and
                     empty for whoever connects
    """

    redis_url: str = field(default="", repr=False)
    redis_prefix: str = "wsserver"
    bus_name: str = BUS_NAME
    bus_inputs: tuple[str, ...] = ("stream", "pubsub")
    bus_events: int = 100_000
    delivery_interval_ms: int = 0
    auth_tokens: tuple[str, ...] = field(default=(), repr=False)
    require_auth: bool = False
    allowed_origins: tuple[str, ...] = ("*",)
    ping_interval_ms: int = 25_000
    ping_timeout_ms: int = 20_000
    max_payload_bytes: int = 1_000_000
    connect_timeout_ms: int = 45_000
    heartbeat_s: float = 1.0
    lease_ttl_s: float = 3.0
    drain_s: float = 0.0
    demo: bool = False
    demo_rate: float = 5.0
    event: EventLimits = field(default_factory=EventLimits)
    history: HistoryLimits = field(default_factory=HistoryLimits)
    session: SessionLimits = field(default_factory=SessionLimits)
    access: AccessLimits = field(default_factory=AccessLimits)
    trusted_proxies: tuple[Network, ...] | None = None
    jwt: JwtConfig = field(default_factory=JwtConfig)
    tracing: TracingConfig = field(default_factory=TracingConfig)

    @property
    def embedded(self) -> bool:
        """True when bus, relay, history and hub live in the one server process."""
        return not self.redis_url

    @property
    def sends_canaries(self) -> bool:
        """Whether the relay has a durable input. On the pub/sub channel other subscribers would take a canary for an event;
        there, only heartbeats tell."""
        return self.embedded or "stream" in self.bus_inputs

    @classmethod
    def from_settings(cls) -> "EventsConfig":
        """The configuration that the Django settings hold under `EVENTS`."""
        from django.conf import settings

        config: EventsConfig = settings.EVENTS
        return config
