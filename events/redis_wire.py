"""A connection to Redis without a detour: the replies are read in the turn of the event loop in which they come."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

import hiredis
from redis import exceptions as errors
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection

_ENDED: Final = "the connection was ended"


class RedisWire(asyncio.Protocol):
    """Takes over a connection that redis-py has made, with address, TLS, user and password. One caller asks at a time.

    On redis-py's way each reply passes a stream, a timer and several coroutines, which together cost several times what Redis
    does for it.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        """Raises `redis.ConnectionError` when the connection has ended already, with what Redis said to that if it did."""
        self._replies = hiredis.Reader(protocolError=errors.InvalidResponse, replyError=BaseParser.parse_error)
        self._found: list[Any] = []
        self._wanted = 0
        self._asked: asyncio.Future[list[Any]] | None = None
        self.ended = False
        reader: Any = connection._reader
        if reader is None or connection._writer is None:
            raise errors.ConnectionError(_ENDED)
        self._transport = cast(asyncio.Transport, connection._writer.transport)
        if reader._eof or reader._buffer or self._transport.is_closing():
            # redis-py's reader has had it, so nobody would tell us. Before it is asked, Redis speaks only to say goodbye.
            raise errors.ConnectionError(bytes(reader._buffer).decode(errors="replace").strip() or _ENDED)
        self._transport.set_protocol(self)

    async def ask(self, commands: Sequence[Sequence[Any]], timeout_s: float) -> list[Any]:
        """The reply to each of the commands: RESP 2 with bytes, errors among them as exceptions.

        Raises `redis.ConnectionError` when the connection ends, `TimeoutError` when not all have come within `timeout_s`. After
        that, or when it is cancelled, the connection is of no use: what comes late would be taken for the reply to something
        else.
        """
        loop = asyncio.get_running_loop()
        self._asked = asked = loop.create_future()
        self._found, self._wanted = [], len(commands)
        self._transport.write(b"".join([hiredis.pack_command(tuple(command)) for command in commands]))
        late = loop.call_later(timeout_s, self._fail, TimeoutError(f"no reply within {timeout_s:g} s"))
        try:
            found: list[Any] = await asked
            return found
        finally:
            late.cancel()
            # A reply may be megabytes, and the next one may be long in coming.
            self._asked, self._found = None, []

    def data_received(self, data: bytes) -> None:
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not False:
                self._found.append(reply)
        except errors.InvalidResponse as error:
            self._fail(error)
            return
        if len(self._found) >= self._wanted and self._asked is not None and not self._asked.done():
            self._asked.set_result(self._found)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._fail(errors.ConnectionError(str(exc) if exc else _ENDED))

    def _fail(self, error: Exception) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(error)
