"""Clients that mean harm. Each kind is one function over a raw connection; `python -m events.soak.hostile` runs many of them.

They run in a process of their own: what they cost must not be taken for a delay of the honest clients.
"""

import asyncio
import os
import secrets
import socket
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Final, cast

import orjson

from events.soak import wire
from events.soak.transports import PATH

PLAIN_PATH: Final = "/ws/events"

CONNECT_TIMEOUT_S: Final = 10.0

#: The attackers share the machine with what they attack, which real ones do not: all else goes first.
NICE: Final = 19

#: Attackers of one address. They come from 127.0.0.2 on: 127.0.0.1 is the machine itself, which no limit applies to.
PER_ADDRESS: Final = 100

#: `tcpi_state` of a connection that neither side has ended.
_ESTABLISHED: Final = 1
_POLL_S: Final = 0.5

_CHUNK: Final = 65_536
_HUGE_BYTES: Final = 4 * 1024 * 1024
_DEPTH: Final = 30_000
_FLOOD: Final = 100
_FLOOD_PAUSE_S: Final = 0.1
_SUBSCRIBE_ALL: Final = b'42["subscribe_all_bots"]'


class Refused(Exception):
    """The server has answered, and the answer is no."""


class Line:
    """One connection to the server, with nothing between the attacker and its bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, random: Random) -> None:
        self.random = random
        self._reader = reader
        self._writer = writer
        self._port = port

    @classmethod
    async def open(cls, address: str, port: int, random: Random) -> "Line":
        """Come from `address`, one of this machine's."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        return cls(reader, writer, port, random)

    async def send(self, data: bytes) -> None:
        """Raises OSError once the server has cut the connection."""
        self._writer.write(data)
        await self._writer.drain()

    async def text(self, packet: bytes) -> None:
        """One WebSocket message."""
        await self.send(wire.masked_frame(wire.TEXT, packet))

    async def upgrade(self, path: str = f"{PATH}websocket") -> None:
        """Become a WebSocket. Raises `Refused`."""
        key = b64encode(secrets.token_bytes(16)).decode()
        await self.send(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise Refused

    async def post(self, path: str, body: bytes) -> bytes:
        """One request on a connection that stays, and the body of its answer. Raises `Refused`."""
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Length: {len(body)}\r\n\r\n"
        return await self._ask(head.encode() + body)

    async def get(self, path: str) -> bytes:
        """As `post`."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n".encode())

    async def _ask(self, request: bytes) -> bytes:
        await self.send(request)
        answers = wire.ResponseReader()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            while (answer := answers.feed(await self._some())) is None:
                continue
        if answer.status != 200:
            raise Refused
        return answer.body

    async def _some(self) -> bytes:
        data = await self._reader.read(_CHUNK)
        if not data:
            raise EOFError
        return data

    async def join(self) -> None:
        """Become a client like any other. Raises `Refused`."""
        await self.upgrade()
        await self.text(b"40")

    async def read_to_end(self) -> None:
        """Returns when the server has ended the connection."""
        while await self._reader.read(_CHUNK):
            pass

    def stop_reading(self) -> None:
        cast("asyncio.Transport", self._writer.transport).pause_reading()

    @property
    def established(self) -> bool:
        """Whether the server still keeps the connection; known without reading from it."""
        connection = self._writer.get_extra_info("socket")
        try:
            return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED)
        except OSError:
            return False

    def drop(self) -> None:
        self._writer.transport.abort()


# -- the kinds: each returns when the server has ended the connection, unless it says so ------------------------------


async def garbage(line: Line) -> None:
    """Bytes that are no HTTP."""
    await line.send(line.random.randbytes(2_000) + b"\r\n\r\n")
    await line.read_to_end()


async def garbage_packets(line: Line) -> None:
    """A WebSocket that speaks no Engine.IO."""
    await line.upgrade()
    await line.text(b"\x7f" + line.random.randbytes(200).hex().encode())
    await line.read_to_end()


async def huge_frame(line: Line) -> None:
    """A message far above what a client may send."""
    await line.join()
    await line.send(_huge_frame())
    await line.read_to_end()


async def no_heartbeat(line: Line) -> None:
    """Takes everything, and answers no ping."""
    await line.join()
    await line.text(_SUBSCRIBE_ALL)
    await line.read_to_end()


async def never_reading(line: Line) -> None:
    """Wants everything and reads nothing, while it keeps saying that it lives."""
    await line.join()
    line.stop_reading()
    await line.text(_SUBSCRIBE_ALL)
    while line.established:
        await line.text(b"3")
        await asyncio.sleep(_POLL_S)


async def subscribe_flood(line: Line) -> None:
    """Subscriptions to ever new topics, ten times as many as a client may send."""
    await line.join()
    reading = asyncio.create_task(line.read_to_end())
    try:
        while not reading.done():
            prefix = line.random.getrandbits(64)
            names = [f"flood_{prefix}_{number}" for number in range(_FLOOD)]
            frames = [
                wire.masked_frame(wire.TEXT, b'42["subscribe_workflow",{"workflow_id":"%s"}]' % n.encode()) for n in names
            ]
            await line.send(b"".join(frames))
            await asyncio.sleep(_FLOOD_PAUSE_S)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def reconnect_loop(line: Line) -> None:
    """Comes, subscribes, and is gone without a word: it ends the connection itself."""
    await line.join()
    await line.text(_SUBSCRIBE_ALL)


async def bad_utf8(line: Line) -> None:
    """Text that is none."""
    await line.join()
    await line.text(b'42["subscribe_workflow",{"workflow_id":"\xff\xfe\xc0\x80"}]')
    await line.read_to_end()


async def deep_json(line: Line) -> None:
    """JSON nested so deeply that a careless parser runs out of stack."""
    await line.join()
    await line.text(b'42["subscribe_workflow",' + b"[" * _DEPTH + b"]" * _DEPTH + b"]")
    await line.read_to_end()


async def wrong_order(line: Line) -> None:
    """Events before there is a session, two sessions at once, and events after the end of one."""
    await line.upgrade()
    for packet in (_SUBSCRIBE_ALL, b"40", b"40", b"41", _SUBSCRIBE_ALL, b"0{}", b"6"):
        await line.text(packet)
    await line.read_to_end()


async def slow_request(line: Line) -> None:
    """A request that never ends, one byte at a time."""
    await line.send(b"GET /status HTTP/1.1\r\nX-Slow: ")
    reading = asyncio.create_task(line.read_to_end())
    try:
        while not reading.done():
            await line.send(b"x")
            await asyncio.sleep(_POLL_S)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def polling_flood(line: Line) -> None:
    """Sessions of long-polling that are opened, filled with commands, and never polled."""
    sid = orjson.loads((await line.get(f"{PATH}polling"))[1:])["sid"]
    path = f"{PATH}polling&sid={sid}"
    await line.post(path, b"40")
    while True:
        try:
            await line.post(path, b"\x1e".join([_SUBSCRIBE_ALL] * _FLOOD))
        except Refused:
            return  # The session was ended.
        await asyncio.sleep(_FLOOD_PAUSE_S)


async def plain_garbage(line: Line) -> None:
    """A plain WebSocket with messages that are no commands, and with nobody who reads the answers."""
    await line.upgrade(PLAIN_PATH)
    line.stop_reading()
    while line.established:
        await line.text(line.random.randbytes(200).hex().encode())
        await asyncio.sleep(_FLOOD_PAUSE_S)


@cache
def _huge_frame() -> bytes:
    return wire.masked_frame(wire.TEXT, b"4" + b"x" * _HUGE_BYTES)


@dataclass(frozen=True, slots=True)
class Kind:
    """`pause_s` is how long an attacker of this kind waits before it comes again."""

    attack: Callable[[Line], Awaitable[None]]
    pause_s: float = 10.0


KINDS: Final[dict[str, Kind]] = {
    "garbage": Kind(garbage),
    "garbage packets": Kind(garbage_packets),
    "huge frame": Kind(huge_frame),
    "no heartbeat": Kind(no_heartbeat),
    "never reading": Kind(never_reading),
    "subscribe flood": Kind(subscribe_flood, 20.0),
    "reconnect loop": Kind(reconnect_loop, 2.0),
    "bad UTF-8": Kind(bad_utf8),
    "deep JSON": Kind(deep_json),
    "wrong order": Kind(wrong_order),
    "slow request": Kind(slow_request),
    "polling flood": Kind(polling_flood, 20.0),
    "plain garbage": Kind(plain_garbage),
}


# -- many of them ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Outcome:
    """What became of the connections of one kind.

    opened:  connections that the server accepted; `refused` of them by an answer, or before that
    closed:  those that the server ended
    left:    those that the attacker ended
    held:    those that were still open when the attack ended
    """

    opened: int = 0
    refused: int = 0
    closed: int = 0
    left: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where an attacker goes, and which address it comes from."""

    address: str
    port: int


async def attack(
    ports: Sequence[int], sockets: int, seconds: float, seed: int, kinds: Sequence[str] = tuple(KINDS)
) -> dict[str, Outcome]:
    """That many attackers, the kinds in turn, for so long. All connections are over when it returns."""
    random = Random(seed)  # noqa: S311 - traffic, not secrets
    outcomes = {name: Outcome() for name in kinds}
    attackers = []
    for number in range(sockets):
        name, port = kinds[number % len(kinds)], ports[number // len(kinds) % len(ports)]
        target = Target(str(ip_address("127.0.0.2") + number // PER_ADDRESS), port)
        own = Random(random.getrandbits(64))  # noqa: S311
        attackers.append(asyncio.create_task(_attacker(KINDS[name], target, outcomes[name], own)))
    await asyncio.wait(attackers, timeout=seconds)
    for attacker in attackers:
        attacker.cancel()
    ends = await asyncio.gather(*attackers, return_exceptions=True)
    # They never return.
    failures = Counter(repr(end) for end in ends if not isinstance(end, asyncio.CancelledError))
    if failures:
        raise RuntimeError(f"attackers ended by themselves: {failures.most_common(3)}")
    return outcomes


async def _attacker(kind: Kind, target: Target, outcome: Outcome, random: Random) -> None:
    # Not all in the same moment, so that each kind meets the others.
    await asyncio.sleep(random.uniform(0, min(kind.pause_s, 5.0)))
    while True:
        await _once(kind, target, outcome, random)
        await asyncio.sleep(kind.pause_s * random.uniform(0.5, 1.0))


async def _once(kind: Kind, target: Target, outcome: Outcome, random: Random) -> None:
    try:
        line = await Line.open(target.address, target.port, random)
    except (OSError, TimeoutError):
        outcome.refused += 1
        return
    outcome.opened += 1
    try:
        await kind.attack(line)
    except (Refused, TimeoutError):
        outcome.refused += 1
    except (OSError, EOFError):
        outcome.closed += 1
    except asyncio.CancelledError:
        outcome.held += 1
        raise
    else:
        if kind.attack is reconnect_loop:
            outcome.left += 1
        else:
            outcome.closed += 1
    finally:
        line.drop()


def _let_others_go_first() -> None:
    os.nice(NICE)
    # Linux shares the processor among sessions first (autogroups), and a process's own number counts only within its session.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE))


def main(argv: Sequence[str]) -> None:
    """Ports and kinds separated by commas, number of sockets, seconds, seed. The last line of the output is JSON: outcomes by
    kind."""
    ports, kinds, sockets, seconds, seed = argv
    _let_others_go_first()
    numbers = [int(port) for port in ports.split(",")]
    outcomes = asyncio.run(attack(numbers, int(sockets), float(seconds), int(seed), kinds.split(",")))
    sys.stdout.buffer.write(orjson.dumps(outcomes) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
