"""What clients cause waits for what the server has to do, and all of it is done."""

import asyncio
import contextlib
import itertools
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import pytest

from events import clients_last, clients_last_selector
from events.clients_last import AS_CLIENT, ClientsLastLoop, delivering
from events.clients_last_selector import ClientsLastSelector


@pytest.fixture
def loop() -> Iterator[ClientsLastLoop]:
    """One that does one thing of clients in each turn, whatever else there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients_last, "TURN_S", 0.0)
        patch.setattr(clients_last, "HURRIED_S", 0.0)
        own = ClientsLastLoop()
        yield own
        own.close()


@pytest.fixture
def selector() -> Iterator[ClientsLastSelector]:
    own = ClientsLastSelector(lambda data: data == "client")
    yield own
    own.close()


@pytest.fixture
def pairs() -> Iterator[Callable[[int], list[tuple[socket.socket, socket.socket]]]]:
    """Makes connected sockets."""
    with contextlib.ExitStack() as ends:

        def make(count: int) -> list[tuple[socket.socket, socket.socket]]:
            made = [socket.socketpair() for _ in range(count)]
            for pair in made:
                for end in pair:
                    ends.enter_context(end)
            return made

        yield make


def taken(selector: ClientsLastSelector) -> list[Any]:
    selector.select(0)
    return [key.fileobj for key in selector.take()]


# -- the selector ------------------------------------------------------------------------------------------------------


def test_no_client_is_named_before_those_that_were_named_have_been_read(selector: Any, pairs: Any) -> None:
    [(client, far_client), (server, far_server)] = pairs(2)
    selector.register(client, EVENT_READ, "client")
    selector.register(server, EVENT_READ, "server")
    far_client.send(b"x")
    far_server.send(b"x")
    assert [(key.fileobj, events) for key, events in selector.select(None)] == [(server, EVENT_READ)]
    assert [key.fileobj for key in selector.take()] == [client]
    assert [key.fileobj for key, _ in selector.select(0)] == [server]
    assert selector.take() == []
    selector.resume()
    assert taken(selector) == [client]


def test_a_few_clients_are_named_at_once_and_each_has_its_turn(selector: Any, pairs: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(clients_last_selector, "AT_ONCE", 4)
    clients = pairs(12)
    for near, far in clients:
        selector.register(near, EVENT_READ, "client")
        far.send(b"x")
    # Nobody reads: all stay ready, and nevertheless nobody is named twice before everybody was named once.
    rounds = []
    for _ in range(3):
        rounds.append(taken(selector))
        selector.resume()
    assert [len(found) for found in rounds] == [4, 4, 4]
    assert {near for found in rounds for near in found} == {near for near, _ in clients}


def test_a_client_that_can_be_written_to_is_named_at_once(selector: Any, pairs: Any) -> None:
    [(client, far)] = pairs(1)
    selector.register(client, EVENT_READ, "client")
    far.send(b"x")
    assert taken(selector) == [client]
    selector.modify(client, EVENT_READ | EVENT_WRITE, "client")
    assert [(key.fileobj, events) for key, events in selector.select(0)] == [(client, EVENT_WRITE)]
    selector.resume()
    selector.modify(client, EVENT_WRITE, "client")
    assert taken(selector) == []


def test_it_is_a_selector_as_any_other(selector: Any, pairs: Any) -> None:
    [(client, far), (other, _)] = pairs(2)
    with pytest.raises(ValueError, match="Invalid events"):
        selector.register(client, 0, "client")
    key = selector.register(client, EVENT_READ, "client")
    assert selector.get_key(client) == key
    with pytest.raises(KeyError):
        selector.register(client, EVENT_READ, "client")
    with pytest.raises(KeyError):
        selector.modify(other, EVENT_READ)
    far.send(b"x")
    # It was closed before it was unregistered, and its number may be another's by now.
    descriptor = client.fileno()
    client.close()
    assert selector.unregister(descriptor) == key
    assert dict(selector.get_map()) == {}
    assert taken(selector) == []


# -- the loop ----------------------------------------------------------------------------------------------------------


def as_client(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> asyncio.Handle:
    """What a client that was heard has the loop do soon."""
    return AS_CLIENT.copy().run(loop.call_soon, call)


def test_the_server_goes_on_in_each_turn_whatever_clients_want(loop: ClientsLastLoop) -> None:
    done: list[str] = []

    async def serve() -> None:
        for number in range(20):
            as_client(loop, partial(done.append, f"client {number}"))
        for number in range(4):
            done.append(f"server {number}")
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)

    loop.run_until_complete(serve())
    # At most one thing of a client is done between two steps of the server, and the clients' come in their order.
    places = [done.index(f"server {number}") for number in range(4)]
    assert all(after - before <= 2 for before, after in itertools.pairwise(places)), done
    assert [what for what in done if what.startswith("client")] == [f"client {number}" for number in range(20)]


def test_what_a_client_began_stays_a_clients(loop: ClientsLastLoop) -> None:
    done: list[str] = []

    async def command(name: str) -> None:
        for _ in range(3):
            done.append(name)
            await asyncio.sleep(0)

    async def serve() -> None:
        commands = [AS_CLIENT.copy().run(asyncio.ensure_future, command(name)) for name in "ab"]
        for _ in range(2):
            done.append("server")
            await asyncio.sleep(0)
        await asyncio.gather(*commands)

    loop.run_until_complete(serve())
    assert done[:4] == ["server", "a", "server", "b"]
    assert done[4:] == ["a", "b", "a", "b"]


def test_a_delivery_to_a_client_that_waits_for_it_stands_in_no_line(loop: ClientsLastLoop) -> None:
    done: list[str] = []

    async def poll(event: asyncio.Event) -> None:
        with delivering():
            await event.wait()
        done.append("delivered")
        await asyncio.sleep(0)
        done.append("next request")

    async def serve() -> None:
        event = asyncio.Event()
        polling = AS_CLIENT.copy().run(asyncio.ensure_future, poll(event))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in range(8):
            as_client(loop, partial(done.append, f"client {number}"))
        event.set()
        await polling

    loop.run_until_complete(serve())
    assert done.index("delivered") <= 2
    assert done.index("next request") > done.index("client 7")


def test_all_clients_are_read_and_what_is_cancelled_is_not_done(loop: ClientsLastLoop, pairs: Any) -> None:
    clients, read, all_read = pairs(100), set(), asyncio.Event()

    def listen(near: socket.socket) -> None:
        def hear() -> None:
            read.add(near.recv(16))
            if len(read) == len(clients):
                all_read.set()

        loop.add_reader(near, hear)

    async def serve() -> None:
        as_client(loop, partial(read.add, b"cancelled")).cancel()
        for number, (near, far) in enumerate(clients):
            AS_CLIENT.copy().run(listen, near)
            far.send(b"%d" % number)
        await all_read.wait()
        for near, _ in clients:
            loop.remove_reader(near)

    loop.run_until_complete(asyncio.wait_for(serve(), 20))
    assert read == {b"%d" % number for number in range(len(clients))}


def test_what_is_opened_for_a_client_is_heard_as_the_servers(loop: ClientsLastLoop) -> None:
    """A connection to Redis, for example: others will use it, too."""

    async def opened() -> bool:
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, _ = await AS_CLIENT.copy().run(
            asyncio.ensure_future, loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
        )
        await asyncio.sleep(0)
        key = loop._readers.get_key(transport.get_extra_info("socket"))
        transport.close()
        server.close()
        return clients_last._is_client(key.data)

    assert not loop.run_until_complete(asyncio.wait_for(opened(), 20))


def test_loops_of_several_threads_do_not_meet() -> None:
    done: list[str] = []
    both_are_in_their_line = threading.Barrier(2, timeout=20)

    def run() -> None:
        own = ClientsLastLoop()
        as_client(own, both_are_in_their_line.wait)
        as_client(own, partial(done.append, "after"))
        own.call_later(0.1, own.stop)
        own.run_forever()
        own.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert done == ["after", "after"]


def test_it_is_not_needed_where_there_is_no_epoll() -> None:
    code = "import select; del select.epoll; import asyncio, events.pacing; asyncio.run(asyncio.sleep(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_line_outlives_what_ends_the_loop(loop: ClientsLastLoop) -> None:
    done: list[str] = []

    def stop() -> None:
        raise SystemExit(3)

    async def serve() -> None:
        for _ in range(4):
            await asyncio.sleep(0)

    as_client(loop, stop)
    as_client(loop, partial(done.append, "after"))
    ending = loop.create_task(serve())
    with pytest.raises(SystemExit):
        loop.run_until_complete(ending)
    loop.run_until_complete(ending)
    assert done == ["after"]
