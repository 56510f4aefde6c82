"""One run: a fresh Redis, a fresh server, the load, and what it cost."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis

from bench.cases import Case, Measure
from bench.history import Follower
from bench.interrupts import interrupts
from bench.load import Load
from bench.load_client import LoadClient
from bench.paths import ROOT
from bench.peer import PEERS_BY_NAME, Peer, Place
from bench.programs import Command, Failed, Program, cpu_s, free_ports, listens, process_cpu_s, resident_kib, wait_until
from bench.result import Result

#: Events are published for so long before anything is counted: compilers and caches warm up.
WARM_UP_S: Final = 1.0

#: What has not come so long after the last event was published counts as not delivered.
DRAIN_S: Final = 3.0

#: All clients must be subscribed within this.
SUBSCRIBE_S: Final = 120.0

#: Idle sockets are left alone for so long before memory is read.
SETTLE_S: Final = 2.0

#: A backlog must be relayed within this, and how often the server is asked how far it is: each time costs it a connection.
RELAY_S: Final = 90.0
ASK_S: Final = 0.25


def run_case(case: Case, peer_name: str, seconds: float) -> Result:
    """Measure one case on one server. Whatever goes wrong is in the result."""
    load_average, peer = os.getloadavg()[0], PEERS_BY_NAME[peer_name]
    if peer.missing():
        return Result(case.name, peer_name, failure=peer.missing())
    try:
        with Bench(case.load, peer, case.alone) as bench:
            metrics = MEASURES[case.measure](bench, seconds)
    except (Failed, OSError, ValueError, subprocess.SubprocessError, redis.RedisError) as error:
        return Result(case.name, peer_name, failure=str(error) or repr(error))
    return Result(case.name, peer_name, {**metrics, "load_average": load_average})


def _nothing() -> None:
    pass


class Bench:
    """Redis, the server and what belongs to it, on free ports, with data and output in a folder of its own.

    The programs of the role `alone` have the first core for themselves; the load client, the publisher, Redis and the rest
    share the others. With several server processes everybody shares all cores. Left as a context, everything ends and the
    folder goes.
    """

    def __init__(self, load: Load, peer: Peer, alone: str = "server") -> None:
        self.load = load
        self.peer = peer
        self.programs: list[Program] = []
        self._stack = contextlib.ExitStack()
        self._published = 0
        #: Called when the server takes events, and when what follows begins to count: a profiler hooks in here.
        self.when_started: Callable[[], None] = _nothing
        self.before_window: Callable[[], None] = _nothing
        cores = sorted(os.sched_getaffinity(0))
        apart = len(cores) > 1 and load.workers == 1
        self.alone = alone
        self.own_cores = cores[:1] if apart else cores
        self.other_cores = cores[1:] if apart else cores

    def __enter__(self) -> Self:
        try:
            self._enter()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _enter(self) -> None:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)))
        self.place = Place(folder, *free_ports(2))
        self._start(Command("other", redis_command(self.place)))
        self.redis = self._stack.enter_context(redis.Redis(port=self.place.redis_port))
        wait_until(self._redis_answers, "Redis", self.programs)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    # -- processes ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server and what belongs to it; returns when it takes connections and events."""
        for command in self.peer.commands(self.place, self.load):
            self._start(command)
        wait_until(lambda: listens(self.place.port), f"{self.peer.name} to listen", self.programs)
        if self.peer.feed == "stream":
            wait_until(Follower(self.place.port).healthy, f"{self.peer.name} to be healthy", self.programs)
        self.when_started()

    def _start(self, command: Command) -> Program:
        log = self.place.folder / f"{len(self.programs)}.log"
        cores = self.own_cores if command.role == self.alone else self.other_cores
        with interrupts.held():
            program = self._stack.enter_context(Program(command, log, cores))
        self.programs.append(program)
        return program

    def of(self, role: str) -> list[Program]:
        """The programs of this role."""
        return [program for program in self.programs if program.role == role]

    @property
    def server(self) -> Program:
        return self.of("server")[0]

    def clients(self, *, hold: bool = False) -> LoadClient:
        """The load client, on its way to be subscribed."""
        errors = self.place.folder / "load.log"
        plain, cores = self.peer.plain, self.other_cores
        with interrupts.held():
            client = LoadClient(self.load, self.place.port, errors, plain=plain, hold=hold, cores=cores)
            return self._stack.enter_context(client)

    def _redis_answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except redis.ConnectionError:
            return False

    # -- events ---------------------------------------------------------------------------------------------------------

    def wait_for_subscriber(self) -> None:
        """Returns when somebody listens to the pub/sub channel, where that is the way that events go."""
        if self.peer.feed == "channel":
            wait_until(lambda: self.redis.pubsub_numsub("workflow_events")[0][1] > 0, "a subscriber of the bus", self.programs)

    def publish(self, count: int, *, rate: float, max_length: int = 100_000) -> dict[str, float]:
        """The publisher's report, once it is done; it goes on where it stopped the last time."""
        port = self.place.port if self.peer.feed == "http" else self.place.redis_port
        options = {
            "to": self.peer.feed,
            "port": port,
            "rate": rate,
            "count": count,
            "first": self._published,
            "topics": self.load.topics,
            "bytes": self.load.event_bytes,
            "max-length": max_length,
        }
        argv = [sys.executable, "-m", "bench.publisher", *(f"--{name}={value}" for name, value in options.items())]
        report = run_publisher(argv, self.other_cores, limit_s=30 + 4 * count / (rate or 10_000))
        self._published += count
        return report

    def window(self, clients: LoadClient, seconds: float) -> tuple[dict[str, Any], dict[str, float], int]:
        """Publish for so long; what the load client and the publisher reported, and how many deliveries there should be."""
        count = self.load.events(seconds)
        wanted = self.load.deliveries(self._published, count)
        clients.count(wanted)
        published = self.publish(count, rate=self.load.rate)
        counted = clients.receive("counted", DRAIN_S)
        if counted is None:
            clients.send("report")
            counted = clients.expect("counted", DRAIN_S)
        return counted, published, wanted


def run_publisher(argv: list[str], cores: list[int], limit_s: float) -> dict[str, float]:
    """Its report. Raises `Failed`."""
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdout=pipe, stderr=pipe, start_new_session=True) as publisher:
        try:
            os.sched_setaffinity(publisher.pid, cores)
            output, errors = publisher.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"the publisher was not done after {limit_s:.0f} s") from None
        finally:
            publisher.kill()
    if publisher.returncode:
        raise Failed(f"the publisher failed: {errors.decode().strip().splitlines()[-1]}")
    report: dict[str, float] = json.loads(output)
    return report


# -- measures ----------------------------------------------------------------------------------------------------------


def measure_delivery(bench: Bench, seconds: float) -> dict[str, float]:
    bench.start()
    with cpu_watch(bench) as connecting:
        clients = bench.clients()
        subscribed = clients.expect("subscribed", SUBSCRIBE_S)
    bench.wait_for_subscriber()
    bench.window(clients, WARM_UP_S)
    bench.before_window()
    with cpu_watch(bench) as used:
        counted, published, wanted = bench.window(clients, seconds)
    # What was late from the warm-up has cost its share, too.
    delivered = max(1, counted["delivered"] + counted["late"])
    return {
        "server_us": used.server_s / delivered * 1e6,
        "relay_us": used.relay_s / delivered * 1e6,
        "load_us": counted["cpu_s"] / delivered * 1e6,
        "server_cores": used.server_s / used.seconds,
        "busiest_cores": used.busiest_s / used.seconds,
        "delivered": counted["delivered"] / wanted,
        "deliveries_per_s": counted["delivered"] / max(counted["seconds"], 1e-6),
        "missing": counted["missing"],
        "repeated": counted["repeated"] + counted["stray"],
        **{f"{name}_ms": counted["latency_ms"][name] for name in ("p50", "p99", "max")},
        "published_per_s": published["sent"] / published["seconds"],
        "joined_s": subscribed["joined_s"],
        "subscribed_s": subscribed["subscribed_s"],
        "connect_us": connecting.server_s / bench.load.clients * 1e6,
        "resident_mib": resident_kib(bench.of("server")) / 1024,
    }


def measure_connect(bench: Bench, seconds: float) -> dict[str, float]:
    bench.start()
    with cpu_watch(bench) as used:
        subscribed = bench.clients().expect("subscribed", SUBSCRIBE_S)
    return {
        "joined_s": subscribed["joined_s"],
        "subscribed_s": subscribed["subscribed_s"],
        "connect_us": used.server_s / bench.load.clients * 1e6,
    }


def measure_memory(bench: Bench, seconds: float) -> dict[str, float]:
    bench.start()
    before = resident_kib(bench.of("server"))
    subscribed = bench.clients().expect("subscribed", SUBSCRIBE_S)
    time.sleep(SETTLE_S)
    after = resident_kib(bench.of("server"))
    return {
        "socket_kib": (after - before) / bench.load.clients,
        "resident_mib": after / 1024,
        "subscribed_s": subscribed["subscribed_s"],
    }


def measure_replay(bench: Bench, seconds: float) -> dict[str, float]:
    bench.start()
    bench.wait_for_subscriber()
    bench.publish(bench.load.replay, rate=0)
    wait_until(lambda: has_recent(bench), "the recent events", bench.programs)
    clients = bench.clients(hold=True)
    joined = clients.expect("joined", SUBSCRIBE_S)
    bench.before_window()
    with cpu_watch(bench) as used:
        clients.send("subscribe")
        subscribed = clients.expect("subscribed", SUBSCRIBE_S)
    return {
        "joined_s": joined["joined_s"],
        "subscribed_s": subscribed["subscribed_s"],
        "connect_us": used.server_s / bench.load.clients * 1e6,
        "missing": subscribed["missing"],
        "repeated": subscribed["repeated"] + subscribed["stray"],
    }


def has_recent(bench: Bench) -> bool:
    """Whether a subscriber gets all recent events by now."""
    probe = Load(clients=1, topics=bench.load.topics, replay=bench.load.replay)
    with LoadClient(probe, bench.place.port, bench.place.folder / "probe.log") as client:
        return client.receive("subscribed", 1.0) is not None


def measure_relay(bench: Bench, seconds: float) -> dict[str, float]:
    count = bench.load.events(2 * seconds)
    bench.publish(count, rate=0, max_length=0)
    began = time.perf_counter()
    bench.start()
    follower = Follower(bench.place.port)
    started = cpu_s(bench.of("relay")), cpu_s(bench.of("server")), follower.position(), time.perf_counter()
    wait_until(lambda: follower.position() >= count, "the backlog to be relayed", bench.programs, RELAY_S, pause_s=ASK_S)
    ended = cpu_s(bench.of("relay")), cpu_s(bench.of("server")), follower.position(), time.perf_counter()
    relayed = max(1, ended[2] - started[2])
    return {
        "relayed_per_s": relayed / (ended[3] - started[3]),
        "relay_cores": (ended[0] - started[0]) / relayed * bench.load.rate,
        "follower_cores": (ended[1] - started[1]) / relayed * bench.load.rate,
        "delivered": ended[2] / count,
        "subscribed_s": time.perf_counter() - began,
    }


MEASURES: Final = {
    Measure.DELIVERY: measure_delivery,
    Measure.CONNECT: measure_connect,
    Measure.MEMORY: measure_memory,
    Measure.REPLAY: measure_replay,
    Measure.RELAY: measure_relay,
}


class Used:
    """CPU time that was used while something ran."""

    seconds = 0.0
    server_s = 0.0
    relay_s = 0.0
    busiest_s = 0.0


@contextlib.contextmanager
def cpu_watch(bench: Bench) -> Iterator[Used]:
    """What the block cost; filled in when it ends."""
    used = Used()
    pids = [pid for program in bench.of("server") for pid in program.pids]
    before = [process_cpu_s(pid) for pid in pids]
    relay, began = cpu_s(bench.of("relay")), time.perf_counter()
    yield used
    each = [process_cpu_s(pid) - spent for pid, spent in zip(pids, before, strict=True)]
    used.seconds = time.perf_counter() - began
    used.server_s, used.busiest_s = sum(each), max(each)
    used.relay_s = cpu_s(bench.of("relay")) - relay


def redis_command(place: Place) -> list[str]:
    """A Redis that keeps nothing on disk."""
    port = ["redis-server", "--port", str(place.redis_port), "--bind", "127.0.0.1", "--dir", str(place.folder)]
    return [*port, "--save", "", "--appendonly", "no", "--daemonize", "no"]
