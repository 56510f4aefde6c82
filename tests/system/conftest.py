"""What the tests of whole deployments share. Stacks are started once per module: processes take a while to start."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.redis_server import RedisServer
from tests.system.clients import TRANSPORTS, NodeClient, NodeHost, PlainClient, PythonClient, until
from tests.system.stack import Server, Stack

AnyClient = NodeClient | PythonClient | PlainClient
Connect = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def node() -> Iterator[NodeHost]:
    host = NodeHost()
    yield host
    host.close()


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def new_stack(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stack]:
    """A stack of the test's own; to be used as a context."""
    return lambda redis=None, **variables: Stack(tmp_path_factory.mktemp("stack"), redis, **variables)


@pytest.fixture
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """`connect(kind, server)` gives a client of a kind that has been greeted, and on its last transport."""
    opened: list[AnyClient] = []

    async def new(kind: str, server: Server, **options: Any) -> AnyClient:
        client = await _open(kind, server, options)
        opened.append(client)
        await client.wait("connected")
        return client

    async def _open(kind: str, server: Server, options: dict[str, Any]) -> AnyClient:
        if kind == "plain":
            return await PlainClient().connect(server.ws_url)
        library, _, transport = kind.partition("-")
        transports = TRANSPORTS[transport]
        if library == "python":
            python = await PythonClient().connect(server.url, transports=transports, **options)
            assert python.transport == transports[-1]
            return python
        host: NodeHost = request.getfixturevalue("node")
        node_client = await NodeClient(host).connect(server.url, transports=transports, **options)
        await until(lambda: node_client.transport == transports[-1], f"the change to {transports[-1]}")
        return node_client

    yield new
    for client in opened:
        await client.close()
