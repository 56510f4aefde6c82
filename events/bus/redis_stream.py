"""The event bus on a Redis Stream: durable, and the way recommended to executors."""

from collections.abc import Sequence
from typing import Final

from events.ports import BusEntry
from events.redis_link import Keys, RedisLink

#: The field of a stream entry that holds the event's JSON text.
FIELD: Final = "event"


class RedisStreamBus:
    """Adds documents to the stream. Its oldest entries are trimmed, read or not, above about `events`."""

    def __init__(self, link: RedisLink, keys: Keys, events: int) -> None:
        self._link = link
        self._keys = keys
        self._events = events

    async def publish(self, documents: Sequence[bytes]) -> list[str]:
        """All of the documents or none. After `Unavailable` they may be there all the same: the reply may be what was lost."""
        added = await self._link.atomically(
            ("XADD", self._keys.bus, "MAXLEN", "~", self._events, "*", FIELD, document) for document in documents
        )
        return [identifier.decode() for identifier in added]

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""


class RedisStreamReader:
    """The relay's input from the stream. The cursor is the id of a stream entry.

    An entry without the field `event` is handed over as an empty document, which no validation accepts.
    """

    name = "stream"
    durable = True

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def read(self, cursor: str, limit: int, wait_s: float) -> list[BusEntry]:
        """May be cancelled at any time: reading takes nothing off the stream."""
        # To Redis, BLOCK 0 means for ever.
        block = ("BLOCK", max(1, round(wait_s * 1000))) if wait_s > 0 else ()
        streams = ("STREAMS", self._keys.bus, cursor or "0-0")
        reply = await self._link.call_blocking(wait_s, "XREAD", "COUNT", limit, *block, *streams)
        if not reply:
            return []
        return [BusEntry(identifier.decode(), fields.get(FIELD.encode(), b"")) for identifier, fields in reply[0][1]]

    def dropped(self) -> int:
        """Always 0: the stream keeps what is not read yet, up to its cap."""
        return 0

    async def close(self) -> None:
        """Nothing to close: the link belongs to whoever made it."""
