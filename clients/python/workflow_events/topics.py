"""What can be subscribed to, and where a subscriber stands in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

#: The kinds of topics that are named by an id.
KINDS: Final = ("workflow", "bot", "strategy")

#: What the server calls the subscription to everything.
ALL_BOTS: Final = "all_bots"

#: How far a subscription has come: topic name to `{"epoch": …, "offset": …}`. Ready for JSON.
Position = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Topic:
    """A workflow, a bot or a strategy by its id, or everything: then `identifier` is empty and `kind` is `all`."""

    kind: str
    identifier: str = ""

    @property
    def name(self) -> str:
        """`workflow:arb_btc_001`, or `all`."""
        return f"{self.kind}:{self.identifier}" if self.identifier else self.kind

    @property
    def command(self) -> str:
        """The server's command that subscribes to it."""
        return f"subscribe_{self.kind if self.identifier else ALL_BOTS}"

    @property
    def payload(self) -> dict[str, Any]:
        """The field of that command which names it."""
        return {f"{self.kind}_id": self.identifier} if self.identifier else {}

    def has(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is of this topic."""
        return not self.identifier or event.get(f"{self.kind}_id") == self.identifier


EVERYTHING: Final = Topic("all")


def topic_of(message: Mapping[str, Any]) -> Topic | None:
    """The topic that a message of the server is about; None for one that this client does not know."""
    kind = message.get("type")
    if kind == ALL_BOTS:
        return EVERYTHING
    identifier = message.get(f"{kind}_id")
    return Topic(kind, identifier) if kind in KINDS and isinstance(identifier, str) else None


def topics(*, everything: bool, **named: str | Iterable[str] | None) -> list[Topic]:
    """The topics of a subscription, each once. Raises `ValueError` when there is none, or an id is none."""
    found = [EVERYTHING] if everything else []
    for kind, value in named.items():
        identifiers: Iterable[Any] = [] if value is None else [value] if isinstance(value, str) else value
        for identifier in identifiers:
            if not identifier or not isinstance(identifier, str):
                raise ValueError(f"{kind} must be an id or several, each a string that is not empty; {identifier!r} is none.")
            found.append(Topic(kind, identifier))
    if not found:
        raise ValueError("Nothing to subscribe to: name a workflow, a bot or a strategy, or say everything=True.")
    return list(dict.fromkeys(found))
