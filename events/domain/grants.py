"""What a token allows. Scopes are what people write, a grant is what the server asks.

A scope is one of `all`, `publish`, `metrics`, `operate`, or a topic pattern such as `workflow:arb_*` and `bot:bot_001`. In a
pattern `*` stands for any characters, none included; everything else stands for itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from events.domain.topics import ALL, KINDS, identifier_of, kind_of

#: Events may be published.
PUBLISH: Final = "publish"

#: Metrics and statistics of the server may be read.
METRICS: Final = "metrics"

#: The emergency state may be changed.
OPERATE: Final = "operate"

#: Everything there is.
EVERYTHING: Final = (ALL, PUBLISH, METRICS, OPERATE)

#: Bounds of one token: scopes, and characters of each.
MAX_SCOPES: Final = 100
MAX_SCOPE_LENGTH: Final = 512

#: How the ids of tokens begin that the configuration names.
CONFIGURED: Final = "shared-"

_WILDCARD: Final = "*"


def scope_problem(scope: str) -> str | None:
    """What is wrong with a scope and how to mend it; None when it is one."""
    if len(scope) > MAX_SCOPE_LENGTH:
        return f"A scope has at most {MAX_SCOPE_LENGTH} characters; one has {len(scope)}."
    if scope in EVERYTHING or (kind_of(scope) in KINDS and identifier_of(scope).strip()):
        return None
    kinds = ", ".join(f"{kind}:<id>" for kind in KINDS)
    return f"{scope!r} is no scope: write {', '.join(EVERYTHING)}, or a topic ({kinds}) in which * stands for any characters."


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic fits a pattern. Takes time in proportion to the topic's length for each `*`, whatever the pattern is."""
    first, *rest = pattern.split(_WILDCARD)
    if not rest:
        return pattern == topic
    *middle, last = rest
    if len(topic) < len(first) + len(last) or not topic.startswith(first) or not topic.endswith(last):
        return False
    # The leftmost place for each part leaves the most room for those that follow.
    place, end = len(first), len(topic) - len(last)
    for part in middle:
        found = topic.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


@dataclass(frozen=True, slots=True)
class Grant:
    """What whoever gave a token may do. Nothing in it is secret.

    token_id:   which token, to revoke it and to count by; empty when there was none
    name:       whose it is, for people
    topics:     patterns of the topics that may be read; `all` is the feed of every event, and so every topic
    expires_at: Unix time from which it is worth nothing; None for never
    """

    token_id: str
    name: str
    topics: tuple[str, ...] = ()
    publish: bool = False
    metrics: bool = False
    operate: bool = False
    expires_at: float | None = None

    @classmethod
    def of(cls, token_id: str, name: str, scopes: Iterable[str], expires_at: float | None = None) -> "Grant":
        """The grant that scopes give, the first `MAX_SCOPES` of them. What is no scope is left out: a login's token carries
        scopes of other services too."""
        known = list(islice((scope for scope in scopes if scope_problem(scope) is None), MAX_SCOPES))
        topics = tuple(dict.fromkeys(scope for scope in known if scope not in (PUBLISH, METRICS, OPERATE)))
        return cls(token_id, name, topics, PUBLISH in known, METRICS in known, OPERATE in known, expires_at)

    def may_subscribe(self, topic: str) -> bool:
        """Whether this topic may be read, live or from the history."""
        return ALL in self.topics or any(matches(pattern, topic) for pattern in self.topics)

    def may_read(self, topics: Iterable[str]) -> bool:
        """Whether something that belongs to these topics may be read."""
        return any(self.may_subscribe(topic) for topic in topics)

    def allows(self, scope: str) -> bool:
        """Whether what is asked for, `publish`, `metrics`, `operate` or a topic, is part of this grant."""
        others = {PUBLISH: self.publish, METRICS: self.metrics, OPERATE: self.operate}
        return others[scope] if scope in others else self.may_subscribe(scope)

    @property
    def ends(self) -> bool:
        """Whether it can end before its connection does: all can but those of the configuration."""
        return bool(self.token_id) and not self.token_id.startswith(CONFIGURED)

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and now >= self.expires_at


#: What everybody has where no token is required.
OPEN: Final = Grant.of("", "", EVERYTHING)

#: What everybody else has before a valid token was given.
NOTHING: Final = Grant("", "")
