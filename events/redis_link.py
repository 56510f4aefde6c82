"""One Redis as the adapters see it: connections with the right timeouts, errors in the ports' words, and all key names."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis import exceptions as errors
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from events.cancellation import heed_cancellation
from events.ports import Unavailable
from events.redis_wire import RedisWire

#: A Redis that has not answered after so long counts as gone. Blocking reads get their own waiting time on top.
REPLY_TIMEOUT_S: Final = 2.0
CONNECT_TIMEOUT_S: Final = 2.0

#: Connections per link, and how long a command waits for one of them to become free.
CONNECTIONS: Final = 16
FREE_CONNECTION_TIMEOUT_S: Final = 1.0

#: The most specific class first.
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (errors.AuthenticationError, "refuses the user name or password"),
    (errors.BusyLoadingError, "is still loading its data"),
    (errors.ConnectionError, "cannot be reached"),
    (errors.TimeoutError, "does not answer"),
    (TimeoutError, "does not answer"),
    (errors.OutOfMemoryError, "has no memory left and refuses to write"),
    (errors.ReadOnlyError, "is a read-only replica"),
    (errors.RedisError, "refuses to serve"),
)


#: What Redis and the network raise.
TROUBLE: Final = (errors.RedisError, OSError)


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key that the adapters use; the whole data model.

    Keys of one history hold its epoch: when an epoch ends, all that belonged to it is out of reach at once and expires by
    itself. `append.lua` makes the same names, as it learns the epoch and the topics only while it runs: Redis Cluster, which
    wants to know all keys beforehand, is not supported.
    """

    prefix: str
    bus_name: str

    @property
    def bus(self) -> str:
        """Stream that executors add to; also the pub/sub channel that they publish to. No prefix: they know this name."""
        return self.bus_name

    @property
    def rejected(self) -> str:
        """Stream of dead letters."""
        return f"{self.bus_name}:rejected"

    @property
    def rejected_bytes(self) -> str:
        """String: bytes of the documents among the dead letters."""
        return f"{self.bus_name}:rejected-bytes"

    @property
    def history(self) -> str:
        """Hash: `epoch`, `number`, and `cursor:<source>` for each input."""
        return f"{self.prefix}:history"

    @property
    def epochs(self) -> str:
        """What the keys of all epochs begin with."""
        return f"{self.prefix}:history:"

    def epoch(self, epoch: str) -> str:
        """What the keys of one epoch begin with."""
        return f"{self.epochs}{epoch}:"

    def journal(self, epoch: str) -> str:
        """Stream: entry `<number>-0` has the stamped document in field `d`."""
        return f"{self.epoch(epoch)}journal"

    def recent(self, epoch: str, topic: str) -> str:
        """List: the stamped documents of the topic's last events, oldest first; the last one has the topic's offset."""
        return f"{self.epoch(epoch)}last:{topic}"

    def offset(self, epoch: str, topic: str) -> str:
        """String: the topic's offset."""
        return f"{self.epoch(epoch)}offset:{topic}"

    def index(self, epoch: str, topic: str) -> str:
        """List: the journal numbers of the topic's last events, oldest first; the last one belongs to the topic's offset."""
        return f"{self.epoch(epoch)}index:{topic}"

    def execution(self, epoch: str, execution_id: str) -> str:
        """String: the state of one execution, as compact JSON."""
        return f"{self.epoch(epoch)}execution:{execution_id}"

    def executions(self, epoch: str, topic: str) -> str:
        """Sorted set: the ids of the topic's executions (member) by the number of their newest event (score)."""
        return f"{self.epoch(epoch)}executions:{topic}"

    def marks(self, epoch: str) -> str:
        """Sorted set: how far the journal reached (member) at which Unix time (score)."""
        return f"{self.epoch(epoch)}marks"

    @property
    def lease(self) -> str:
        """String: who leads."""
        return f"{self.prefix}:lease"

    @property
    def fence(self) -> str:
        """String: the newest fencing token."""
        return f"{self.prefix}:fence"

    @property
    def processes(self) -> str:
        """Set: processes that may have a report."""
        return f"{self.prefix}:processes"

    def report(self, process: str) -> str:
        """String: the report of one process, as JSON."""
        return f"{self.prefix}:report:{process}"

    def clients(self, process: str) -> str:
        """Hash: the row of each client of one process by sid, as JSON."""
        return f"{self.prefix}:clients:{process}"

    def control(self, process: str) -> str:
        """List: ids of requests that wait for one process."""
        return f"{self.prefix}:control:{process}"

    def control_request(self, name: str) -> str:
        """String: the text of one request, as JSON, while somebody waits for it to be carried out."""
        return f"{self.prefix}:control-request:{name}"

    def control_reply(self, name: str) -> str:
        """List of one: the reply to one request, as JSON."""
        return f"{self.prefix}:control-reply:{name}"

    @property
    def totals(self) -> str:
        """Hash: counters of all processes that ever reported."""
        return f"{self.prefix}:totals"

    @property
    def samples(self) -> str:
        """Stream: what each process did lately; field `s` has a sample as JSON."""
        return f"{self.prefix}:samples"

    @property
    def durations(self) -> str:
        """Hash: of each workflow, the last durations of its nodes as JSON; and `durations_kept`, a sorted set of when."""
        return f"{self.prefix}:durations"

    @property
    def durations_kept(self) -> str:
        """Sorted set: the workflows in `durations` by the Unix time at which something was last kept of them."""
        return f"{self.prefix}:durations:kept"

    @property
    def emergencies(self) -> str:
        """List: the last states that were set, newest first, each as JSON (`events.ports.Emergency`)."""
        return f"{self.prefix}:emergencies"

    @property
    def ping(self) -> str:
        """String: written and read back to see whether Redis serves."""
        return f"{self.prefix}:ping"


class RedisLink:
    """Commands to one Redis. Every method raises `Unavailable` when that Redis cannot be reached or refuses to serve.

    Nothing is ever sent twice: a command whose reply was lost may have been carried out, and only the caller can know whether
    a repeat does harm. Adapters share a link; whoever made it closes it.
    """

    def __init__(self, url: str, *, connections: int = CONNECTIONS) -> None:
        """`url` is `redis://`, `rediss://` or `unix://`. Connects on first use. Raises `ValueError` for another scheme."""
        self._client = _client(url, connections, REPLY_TIMEOUT_S)
        # Blocked commands sit in connections of their own: they would take all the others', and their replies may be late.
        self._patient = _client(url, connections, None)
        self._lines: list[RedisLine] = []
        self.where = _where(self._client)

    async def call(self, *command: Any) -> Any:
        """One command, one reply, in redis-py's shape for RESP 2 with bytes."""
        async with self.serving():
            return await _untyped(self._client.execute_command)(*command)

    async def call_blocking(self, wait_s: float, *command: Any) -> Any:
        """A command that may keep its reply back for `wait_s`. Cancelling it costs the connection, nothing else."""
        async with self.serving(), asyncio.timeout(wait_s + REPLY_TIMEOUT_S):
            return await _untyped(self._patient.execute_command)(*command)

    async def pipeline(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Many commands in one round trip; other clients' commands may come between them."""
        return await self._pipeline(commands, atomic=False)

    async def atomically(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Many commands in one round trip, all of them or none, and nobody sees a part (MULTI)."""
        return await self._pipeline(commands, atomic=True)

    def line(self) -> "RedisLine":
        """A connection for one caller alone. It ends with this link."""
        line = RedisLine(self, self._patient.connection_pool)
        self._lines.append(line)
        return line

    def script(self, text: str) -> "RedisScript":
        """A Lua script to be run on this Redis."""
        return RedisScript(self, self._client, text)

    def pubsub(self) -> PubSub:
        """A subscriber with a connection of its own. Use it within `serving`."""
        return self._client.pubsub()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Turns errors of Redis and of the network into `Unavailable`."""
        try:
            with heed_cancellation():
                yield
        except TROUBLE as error:
            raise await self.unavailable(error) from error

    async def unavailable(self, error: Exception) -> Unavailable:
        """What an error of Redis or of the network means to callers."""
        if _is_read_only(error):
            # After a failover the name leads elsewhere, but open connections stay with the old master.
            await self._client.connection_pool.disconnect(inuse_connections=False)
        return Unavailable(f"{self.where} {_reason(error)}: {_said(error)}")

    async def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            await line.close()
        await self._client.aclose()
        await self._patient.aclose()

    async def _pipeline(self, commands: Iterable[Sequence[Any]], *, atomic: bool) -> list[Any]:
        async with self.serving(), self._client.pipeline(transaction=atomic) as pipeline:
            for command in commands:
                _untyped(pipeline.execute_command)(*command)
            replies: list[Any] = await pipeline.execute()
            return replies


class RedisScript:
    """A Lua script: sent once, then called by its digest."""

    def __init__(self, link: RedisLink, client: "Redis", text: str) -> None:
        self._link = link
        self._script = client.register_script(text)

    async def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run it. Redis takes up to a million arguments, the script reads them as they are."""
        async with self._link.serving():
            return await self._script(keys=keys, args=args)

    def command(self, keys: Sequence[str], args: Sequence[Any], *, known: bool = True) -> Sequence[Any]:
        """The command that runs it on a server that knows it, or on one that gets to know it that way."""
        head = ("EVALSHA", self._script.sha) if known else ("EVAL", self._script.script)
        return *head, len(keys), *keys, *args


class RedisLine:
    """One connection for one caller, who asks all the time: no connection has to be found, and commands that follow one another
    are one write. What the client library does around a command costs several times what the command does.

    Callers take turns. Replies are those of the protocol, RESP 2 with bytes, in no shape of redis-py's.
    """

    def __init__(self, link: RedisLink, pool: "ConnectionPool") -> None:
        self._link = link
        self._connection = _untyped(pool.make_connection)()
        self._wire: RedisWire | None = None
        self._turn = asyncio.Lock()

    async def run(
        self, script: RedisScript, keys: Sequence[str], args: Sequence[Any], *, wait: Sequence[Any] = (), wait_s: float = 0.0
    ) -> Any:
        """Run a script, after the command `wait` has been answered, which Redis may keep back for `wait_s`.

        Raises `Unavailable`. Cancelling it costs the connection, nothing else.
        """
        command = script.command(keys, args)
        async with self._turn:
            try:
                replies = await self._ask((wait, command) if wait else (command,), wait_s)
                if isinstance(replies[-1], errors.NoScriptError):
                    replies[-1:] = await self._ask((script.command(keys, args, known=False),), 0.0)
                for reply in replies:
                    if isinstance(reply, Exception):
                        await self._refused(reply)
                return replies[-1]
            except TROUBLE as error:
                raise await self._link.unavailable(error) from error

    async def close(self) -> None:
        """A later call connects anew."""
        self._wire = None
        await self._connection.disconnect(nowait=True)

    async def _ask(self, commands: Sequence[Sequence[Any]], wait_s: float) -> list[Any]:
        try:
            wire = self._wire
            if wire is None or wire.ended:
                wire = await self._connect()
            return await wire.ask(commands, wait_s + REPLY_TIMEOUT_S)
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> RedisWire:
        await self.close()
        with heed_cancellation():
            # Apart from the question's own time: the network, TLS and the login.
            async with asyncio.timeout(CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S):
                await self._connection.connect()
        self._wire = wire = RedisWire(self._connection)
        return wire

    async def _refused(self, error: Exception) -> None:
        if _is_read_only(error):
            await self.close()
        raise error


def _client(url: str, connections: int, reply_timeout_s: float | None) -> "Redis":
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=FREE_CONNECTION_TIMEOUT_S,
        socket_timeout=reply_timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        # The oldest protocol has one shape per reply on every server and proxy, and its handshake asks for nothing.
        protocol=2,
        legacy_responses=True,
        driver_info=None,
    )
    return Redis.from_pool(pool)


def _untyped(function: Callable[..., Any]) -> Callable[..., Any]:
    """redis-py leaves its general doors without annotations."""
    return function


def _where(client: "Redis") -> str:
    """The address without user name and password."""
    options = client.connection_pool.connection_kwargs
    place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"Redis at {place}/{options.get('db', 0)}"


def _is_read_only(error: Exception) -> bool:
    """Scripts wrap the error of the command that failed in a text of their own on Redis 6."""
    return isinstance(error, errors.ReadOnlyError) or "-READONLY" in str(error)


def _said(error: Exception) -> str:
    """What Redis said. Of one command of several, redis-py quotes the command first, with all that is in it."""
    text = str(error)
    _, quoted, said = text.rpartition(" of pipeline caused error: ")
    return said.strip("()\"',") if quoted else text


def _reason(error: Exception) -> str:
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "cannot be reached")
