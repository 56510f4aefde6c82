"""The hub writes to sockets itself while nothing stands in its way, and finds back to that when something did."""

import socket
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from events.domain.entry import Entry
from events.fanout.wire import Bundle, Dialect
from events.pipes import SolePipe
from events.protocol.frames import text_frame
from tests.delivery.test_pipes import Transport
from tests.fanout.support import Client, Stage, events, stage

HANDSHAKE = b"HTTP/1.1 101"


class WatchedPipe(SolePipe):
    """Counts how often the hub had to go through it."""

    offers = 0

    def offer(self, bundle: Bundle, room: int) -> bool:
        self.offers += 1
        return super().offer(bundle, room)


class Scene:
    """A hub with one subscriber whose connection is one end of a pair of sockets; `theirs` is the other."""

    def __init__(self, world: Stage, client: Client, ours: socket.socket, theirs: socket.socket) -> None:
        self.world, self.session, self.theirs = world, client.session, theirs
        self.transport = Transport(ours)
        self.pipe = WatchedPipe(self.transport)
        self.session.pipe = self.pipe

    def shake_hands(self) -> None:
        self.pipe.put(HANDSHAKE)
        assert self.theirs.recv(100) == HANDSHAKE

    async def deliver(self, count: int) -> list[Entry]:
        """One batch of events."""
        written = await self.world.publish(*events(count))
        self.world.group.deliver_all(self.world.hub)
        return written

    def read(self) -> bytes:
        """All that the socket has taken and that was not read yet."""
        received = b""
        try:
            while True:
                received += self.theirs.recv(1 << 20)
        except BlockingIOError:
            return received

    @property
    def queued(self) -> bytes:
        return b"".join(self.transport._tempDataBuffer)

    def drain(self) -> bytes:
        """As the reactor does when the socket has room again: what was queued leaves."""
        left = self.queued
        self.transport._tempDataBuffer.clear()
        self.transport._tempDataLen = 0
        return left


def frames(entries: Sequence[Entry]) -> bytes:
    return b"".join(text_frame(Dialect.PLAIN.encode("workflow_event", entry.document)) for entry in entries)


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        async with stage() as world:
            client = await world.client()
            await world.subscribe(client)
            yield Scene(world, client, ours, theirs)


async def test_batches_go_straight_to_the_socket(scene: Scene) -> None:
    scene.shake_hands()
    for count in (1, 3):
        assert frames(await scene.deliver(count)) == scene.read()
    assert (scene.pipe.offers, scene.session.sent, scene.world.hub.counters.sent) == (0, 4, 4)


async def test_nothing_passes_what_is_queued_and_then_it_is_straight_again(scene: Scene) -> None:
    scene.shake_hands()
    expected = b""
    while scene.pipe.direct is not None:
        expected += frames(await scene.deliver(1))
    expected += frames(await scene.deliver(2))
    assert scene.pipe.offers == 1
    assert scene.read() + scene.drain() == expected
    # The first write goes through the pipe, which finds nothing queued; all further ones do not.
    for _ in range(3):
        assert frames(await scene.deliver(1)) == scene.read()
    assert scene.pipe.offers == 2
    assert scene.session.sent == scene.world.hub.counters.sent


async def test_a_client_that_does_not_read_lags(scene: Scene) -> None:
    scene.shake_hands()
    while not scene.session.lagging:
        await scene.deliver(200)
    assert scene.pipe.pending > scene.session.limits.buffer_bytes
    assert scene.pipe.direct is None


async def test_nothing_follows_the_end(scene: Scene) -> None:
    scene.shake_hands()
    scene.pipe.shut()
    await scene.deliver(1)
    assert (scene.read(), scene.queued) == (b"", b"")


@pytest.mark.parametrize(("name", "value"), [("disconnecting", 1), ("connected", 0)])
async def test_nothing_goes_straight_to_a_connection_that_ends(scene: Scene, name: str, value: int) -> None:
    scene.shake_hands()
    setattr(scene.transport, name, value)
    scene.pipe.put(b"answer")
    assert scene.pipe.direct is None
    await scene.deliver(1)
    assert (scene.read(), scene.queued) == (b"", b"")


async def test_a_connection_that_is_lost_is_no_failure(scene: Scene) -> None:
    scene.shake_hands()
    scene.transport.socket.close()
    scene.transport.connected = 0
    await scene.deliver(2)
    assert (scene.queued, scene.session.lagging) == (b"", False)


async def test_what_is_held_leaves_in_one_piece_and_nothing_passes_it(scene: Scene) -> None:
    scene.shake_hands()
    scene.pipe.hold()
    scene.pipe.put(b"answer")
    live = frames(await scene.deliver(1))
    assert (scene.pipe.offers, scene.read()) == (1, b"")
    scene.pipe.release()
    assert scene.read() == b"answer" + live
    assert frames(await scene.deliver(1)) == scene.read()
    assert scene.pipe.offers == 1


async def test_what_was_held_leaves_before_the_end(scene: Scene) -> None:
    scene.pipe.hold()
    scene.pipe.put(HANDSHAKE)
    scene.pipe.shut()
    scene.pipe.put(b"too late")
    assert scene.read() == HANDSHAKE
    assert scene.pipe.direct is None
