"""Where the demo publishes: the Redis Stream, the Redis pub/sub channel, or a running server over HTTP."""

import asyncio
import http.client
import json
from collections.abc import Sequence
from contextlib import closing
from typing import Final, Protocol
from urllib.parse import urlsplit

from events.conf import EventsConfig
from events.ports import Unavailable
from events.redis_link import RedisLink
from events.wiring import build_adapters

TIMEOUT_S: Final = 10.0


class RefusedError(Exception):
    """The receiver is there and does not want the documents. The message says how to mend it."""


class Outlet(Protocol):
    """Takes JSON documents, in order. Raises `Unavailable` when nobody takes them, `RefusedError` when they are not wanted."""

    where: str

    async def publish(self, documents: Sequence[bytes]) -> object: ...

    async def close(self) -> None: ...


class BusOutlet:
    """The project's own event bus: the Redis Stream."""

    def __init__(self, config: EventsConfig) -> None:
        self.where = f"the Redis Stream {config.bus_name}"
        self._adapters = build_adapters(config)

    async def publish(self, documents: Sequence[bytes]) -> object:
        return await self._adapters.bus.publish(documents)

    async def close(self) -> None:
        await self._adapters.close()


class PubSubOutlet:
    """The Redis pub/sub channel, as executors in the field publish. Raises `Unavailable` when no relay listens."""

    def __init__(self, config: EventsConfig) -> None:
        self.where = f"the Redis pub/sub channel {config.bus_name}"
        self._channel = config.bus_name
        self._link = RedisLink(config.redis_url)

    async def publish(self, documents: Sequence[bytes]) -> object:
        listeners = await self._link.pipeline(("PUBLISH", self._channel, document) for document in documents)
        if not all(listeners):
            raise Unavailable(f"Nobody listens on {self.where}: start the relay with `python manage.py runbus`")
        return listeners

    async def close(self) -> None:
        await self._link.close()


class HttpOutlet:
    """`POST /api/events` of a running server. `url` is the whole address; raises `ValueError` when it is none."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is not an http:// or https:// address")
        self.where = url
        self._secure = parts.scheme == "https"
        self._address = (parts.hostname, parts.port)
        self._path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    async def publish(self, documents: Sequence[bytes]) -> object:
        return await asyncio.to_thread(self._post, b"[" + b",".join(documents) + b"]")

    async def close(self) -> None:
        """Nothing to close: each request has its own connection."""

    def _post(self, body: bytes) -> None:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        try:
            with closing(kind(*self._address, timeout=TIMEOUT_S)) as connection:
                connection.request("POST", self._path, body, self._headers)
                response = connection.getresponse()
                status, answer = response.status, response.read()
        except ConnectionRefusedError:
            raise Unavailable(f"Nothing answers at {self.where}: start the server with `make run`") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"No answer from {self.where}: {str(error) or type(error).__name__}") from None
        self._judge(status, answer)

    def _judge(self, status: int, answer: bytes) -> None:
        if 200 <= status < 300:
            return
        reason = _message(answer)
        if status >= 500:
            raise Unavailable(f"{self.where} answers {status}: {reason}")
        if status in (401, 403):
            raise RefusedError(f"{self.where} wants a token: give it with --token, or as WS_AUTH_TOKEN ({reason})")
        raise RefusedError(f"{self.where} answers {status}: {reason}")


def _message(answer: bytes) -> str:
    """The `message` of an answer of the API; of other answers the beginning, on one line."""
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(answer.decode(errors="replace").split())[:120] or "no reason given"
