"""What is measured, and what is promised of it."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bench.load import Load
from bench.peer import OURS, OURS_INTERVAL, OURS_UVICORN


class Measure(StrEnum):
    """What a run does."""

    DELIVERY = "delivery"  # events are published at the load's rate, and counted and timed at the clients
    CONNECT = "connect"  # all clients connect and subscribe
    MEMORY = "memory"  # as connect; then the server is left alone before its memory is read
    REPLAY = "replay"  # connected clients subscribe at once and get the recent events
    RELAY = "relay"  # a backlog on the Redis Stream is relayed as fast as it goes


@dataclass(frozen=True, slots=True)
class Target:
    """A promise about one metric of this server (bench/result.py has the metrics).

    bound:   the figure, or with `against` the ratio to the other side's, may be at most this; with `least` at least this
    against: a peer, or `case:<name>` for this server in another case; empty for the figure itself
    ours:    which of the peers that are this server; not the default where an option is promised something
    """

    metric: str
    bound: float
    against: str = ""
    least: bool = False
    ours: str = OURS

    @property
    def against_case(self) -> str:
        """The name of the other case; empty when there is none."""
        kind, found, name = self.against.partition(":")
        return name if found and kind == "case" else ""


@dataclass(frozen=True, slots=True)
class Case:
    """One load under one name.

    series: the growth chart that it is a point of; empty for the cases of the table
    x:      its place on that chart
    """

    name: str
    title: str
    load: Load
    measure: Measure = Measure.DELIVERY
    peers: tuple[str, ...] = (OURS, "node")
    targets: tuple[Target, ...] = ()
    repeat: int = 3
    series: str = ""
    x: float = 0.0

    @property
    def compared(self) -> frozenset[str]:
        """The cases that its targets compare it with."""
        return frozenset(target.against_case for target in self.targets) - {""}

    @property
    def alone(self) -> str:
        """The role of the program that has a core for itself."""
        return "relay" if self.measure is Measure.RELAY else "server"


_EVERYBODY: Final = (
    OURS,
    OURS_UVICORN,
    OURS_INTERVAL,
    "node",
    "nchan",
    "floor",
    "rooms-uvicorn",
    "rooms-daphne",
    "groups-pubsub",
    "groups-core",
)

_COST: Final = "server_us"

#: Everything arrives, once and in order.
_ALL: Final = (Target("delivered", 1.0, least=True), Target("missing", 0.0), Target("repeated", 0.0))

#: Below what one `send` per event and client costs (docs/performance.md): what the option is for that makes fewer of them.
_FEWER_SENDS: Final = (
    Target(_COST, 0.15, "rooms-uvicorn"),
    Target(_COST, 0.03, "groups-pubsub"),
    Target(_COST, 0.03, "groups-core"),
)

TABLE: Final = (
    Case(
        "fanout-200",
        "200 clients on one workflow, 100 ev/s",
        Load(),
        peers=_EVERYBODY,
        targets=(
            Target(_COST, 0.6, "node"),
            Target(_COST, 1.5, "nchan"),
            *_FEWER_SENDS,
            Target("p50_ms", 4.0),
            Target("p99_ms", 12.0),
            *_ALL,
            *(replace(target, ours=OURS_INTERVAL) for target in (*_FEWER_SENDS, *_ALL)),
        ),
    ),
    Case(
        "fanout-200-fast",
        "200 clients on one workflow, 1,000 ev/s",
        Load(rate=1_000),
        peers=(OURS, OURS_UVICORN, "node", "nchan", "floor"),
        targets=(Target(_COST, 0.4, "node"), Target(_COST, 0.8, "nchan"), Target("p99_ms", 25.0), *_ALL),
    ),
    Case(
        "workflows-1000",
        "1,000 clients on 1,000 workflows, 5,000 ev/s",
        Load(clients=1_000, topics=1_000, rate=5_000),
        targets=(Target(_COST, 0.7, "node"), *_ALL),
    ),
    Case(
        "three-kinds",
        "1,000 clients on 10 workflows, each on its workflow, bot and strategy, 200 ev/s",
        Load(clients=1_000, topics=10, kinds=("workflow", "bot", "strategy"), rate=200),
        peers=(OURS, OURS_UVICORN, "node"),
        targets=(Target(_COST, 0.6, "node"), *_ALL),
    ),
    Case(
        "connect-1000",
        "1,000 sockets connect and subscribe at once",
        Load(clients=1_000, window=0),
        Measure.CONNECT,
        peers=(OURS, OURS_UVICORN, "node"),
        targets=(Target("subscribed_s", 1.2, "node"),),
        repeat=3,
    ),
    Case(
        "idle-5000",
        "5,000 idle subscribed sockets",
        Load(clients=5_000),
        Measure.MEMORY,
        peers=(OURS, OURS_UVICORN, "node"),
        targets=(Target("socket_kib", 1.0, "node"),),
        repeat=2,
    ),
    Case(
        "replay-1000",
        "1,000 clients subscribe at once to a topic with 100 recent events",
        Load(clients=1_000, window=200, replay=100),
        Measure.REPLAY,
        peers=(OURS, OURS_UVICORN, "node"),
        targets=(Target("subscribed_s", 1.0, "node"), Target("missing", 0.0), Target("repeated", 0.0)),
        repeat=3,
    ),
    Case(
        "relay-20000",
        "a backlog on the Redis Stream, three topics per event, a server without clients",
        Load(topics=100, rate=20_000),
        Measure.RELAY,
        peers=(OURS,),
        targets=(
            Target("relayed_per_s", 20_000, least=True),
            Target("relay_cores", 1.0),
            Target("follower_cores", 0.5),
            Target("delivered", 1.0, least=True),
        ),
    ),
    Case("scale-200", "200 clients on one workflow, 100 ev/s, in turns with scale-10000", Load(), peers=(OURS, "floor")),
    Case(
        "scale-10000",
        "10,000 clients on one workflow, as many deliveries as 200 clients at 100 ev/s",
        Load(clients=10_000, rate=2),
        peers=(OURS, "floor"),
        targets=(Target(_COST, 1.3, "case:scale-200"), *_ALL),
    ),
    Case(
        "workers-1",
        "200 clients on one workflow, 2,000 ev/s, one server process",
        Load(rate=2_000),
        peers=(OURS,),
        repeat=2,
    ),
    Case(
        "workers-2",
        "200 clients on one workflow, 2,000 ev/s, two server processes on the port",
        Load(rate=2_000, workers=2),
        peers=(OURS,),
        targets=(Target("busiest_cores", 0.65, "case:workers-1"), *_ALL),
        repeat=2,
    ),
)


def _points(series: str, title: str, loads: dict[float, Load], peers: tuple[str, ...]) -> tuple[Case, ...]:
    return tuple(
        Case(f"{series}-{x:g}", title.format(f"{x:,.0f}"), load, peers=peers, repeat=1, series=series, x=x)
        for x, load in loads.items()
    )


GROWTH: Final = (
    *_points(
        "clients",
        "{} clients on one workflow, 20,000 deliveries/s in all",
        {n: Load(clients=n, rate=20_000 / n) for n in (100, 1_000, 10_000)},
        (OURS, "node", "nchan"),
    ),
    *_points(
        "rate",
        "50 clients on one workflow, {} ev/s",
        {rate: Load(clients=50, rate=rate) for rate in (10, 100, 1_000, 5_000)},
        (OURS, "node", "nchan"),
    ),
    *_points(
        "topics",
        "1,000 clients on {} workflows, 5,000 deliveries/s in all",
        {
            n: Load(clients=1_000, topics=n, each=max(1, n // 1_000), rate=min(5_000, 5 * n))
            for n in (1, 10, 100, 1_000, 10_000)
        },
        (OURS, "node"),
    ),
    *_points(
        "subscriptions",
        "200 clients, each on the same {} workflows, 100 ev/s over all of them",
        {n: Load(topics=n, each=n) for n in (1, 10, 100)},
        (OURS, "node"),
    ),
    *_points(
        "bytes",
        "100 clients on one workflow, 20 ev/s of {} bytes",
        {n: Load(clients=100, rate=20, event_bytes=n) for n in (100, 1_024, 8_192, 65_536)},
        (OURS, "node", "nchan"),
    ),
)

CASES: Final = {case.name: case for case in (*TABLE, *GROWTH)}
