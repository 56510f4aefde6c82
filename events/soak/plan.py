"""What a soak is asked for."""

from dataclasses import dataclass
from typing import Final

#: Faults by name, with what each does. The order is that of the documentation.
FAULTS: Final = {
    "kill-leader": "SIGKILL of the leading relay, which is started again two seconds later",
    "freeze-leader": "SIGSTOP of the leading relay for longer than its lease, then SIGCONT",
    "kill-server": "SIGKILL of a server process, which is started again on its port a second later",
    "rolling-restart": "SIGTERM of every server process, one after the other; each drains and is started again on its port",
    "cut-redis": "CLIENT KILL of every connection to Redis",
    "restart-redis": "SIGTERM of Redis, which is started again at once",
    "crash-redis": "SIGKILL of Redis, which is started again at once",
    "lose-second": "SIGKILL of Redis and the loss of the last second of its AOF, as after a crash of its machine",
    "flush-redis": "FLUSHALL: bus, history and leases are gone at once",
    "drop-clients": "a fifth of the clients lose their connection; some stay away for a while",
    "stall-clients": "a tenth of the clients do not read for some seconds",
}

#: Those of which the promise is that nothing is lost; after the others, clients are told what they miss.
DEFAULT_FAULTS: Final = tuple(name for name in FAULTS if name not in ("crash-redis", "lose-second", "flush-redis"))


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """One soak.

    rate:          events per second
    seconds:       how long events are published
    clients:       spread over the servers and over both transports
    polling:       the share of clients that use long-polling, from 0 to 1
    servers:       server processes
    relays:        `runbus` processes; one leads, the others stand by
    workflows:     events are spread over so many; there are a fifth as many bots and a tenth as many strategies
    faults:        names of `FAULTS`; empty for none
    fault_every_s: one fault begins so often, from the first interval on
    catch_up_s:    when the publisher has ended, clients may go without any event for so long before they have all
    drain_s:       `WS_DRAIN_S` of the servers
    client_buffer: unsent bytes above which the servers take a client for slow; 0 for their default
    seed:          the same number gives the same traffic, subscriptions and faults
    """

    rate: float = 100.0
    seconds: float = 60.0
    clients: int = 50
    polling: float = 0.5
    servers: int = 2
    relays: int = 2
    workflows: int = 50
    faults: tuple[str, ...] = DEFAULT_FAULTS
    fault_every_s: float = 10.0
    catch_up_s: float = 30.0
    drain_s: float = 5.0
    client_buffer: int = 0
    seed: int = 0


class SoakFailed(Exception):
    """The soak could not be run to its end. The message says why, and where to look."""
