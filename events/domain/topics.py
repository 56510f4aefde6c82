"""Topic names: `workflow:<id>`, `bot:<id>`, `strategy:<id>`, and `all`."""

from functools import lru_cache
from typing import Any, Final

ALL: Final = "all"

#: Kinds that are named by an id, in the order in which an event lists its topics.
KINDS: Final = ("workflow", "bot", "strategy")

#: How many combinations of ids keep the names of their topics at hand.
_COMBINATIONS: Final = 10_000

#: The name of the subscription to everything on the wire; deployed dashboards know no other.
ALL_BOTS: Final = "all_bots"


def topic_name(kind: str, identifier: str) -> str:
    """The topic of one workflow, bot or strategy."""
    return f"{kind}:{identifier}"


def kind_of(topic: str) -> str:
    """`all`, or the part of a topic name before the first colon."""
    return topic.partition(":")[0]


def identifier_of(topic: str) -> str:
    """The id within a topic name; empty for `all`. Ids may hold colons themselves."""
    return topic.partition(":")[2]


def subscription(topic: str) -> dict[str, Any]:
    """How a topic is named to clients: `{"type": "workflow", "workflow_id": …}`, or `{"type": "all_bots"}`."""
    if topic == ALL:
        return {"type": ALL_BOTS}
    kind = kind_of(topic)
    return {"type": kind, f"{kind}_id": identifier_of(topic)}


@lru_cache(_COMBINATIONS)
def topics_of(*ids: str | None) -> tuple[str, ...]:
    """The topics of what carries these ids, one for each of `KINDS`: `all` first. Many events have the same ids; they share the
    names of their topics."""
    return (ALL, *(topic_name(kind, identifier) for kind, identifier in zip(KINDS, ids, strict=True) if identifier is not None))


@lru_cache(_COMBINATIONS)
def shared(topics: tuple[str, ...]) -> tuple[str, ...]:
    """The same topics, as one object for all who ask: what is read of many events names the same ones again and again, and is
    kept in recent buffers."""
    return topics
