"""Scopes: what they give, and that a pattern gives what it says and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.domain.grants import (
    EVERYTHING,
    MAX_SCOPE_LENGTH,
    METRICS,
    NOTHING,
    OPEN,
    OPERATE,
    PUBLISH,
    Grant,
    matches,
    scope_problem,
)

#: Few letters, so that patterns and topics often fit; the rest has a meaning in other pattern languages.
TEXT = st.text("ab:*?[.\\\n", max_size=12)


@given(TEXT, TEXT)
def test_a_star_stands_for_any_characters_and_nothing_else_for_anything(pattern: str, topic: str) -> None:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert matches(pattern, topic) == (re.fullmatch(expression, topic, re.DOTALL) is not None)


@given(st.lists(TEXT, min_size=1), st.lists(TEXT, min_size=1))
def test_whatever_the_stars_stand_for_fits(parts: list[str], fillings: list[str]) -> None:
    literal = [part.replace("*", "") for part in parts]
    filled = literal[0] + "".join(fillings[index % len(fillings)] + part for index, part in enumerate(literal[1:]))
    assert matches("*".join(literal), filled)


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not matches("workflow:" + "*a" * 250, "workflow:" + "a" * 249 + "b" * 3_000)


@pytest.mark.parametrize(
    ("scopes", "allowed", "denied"),
    [
        (("all",), ("all", "workflow:w", "bot:b"), (PUBLISH, METRICS, OPERATE)),
        (("workflow:*",), ("workflow:w", "workflow:a:b", "workflow:*"), ("all", "bot:w", "strategy:w")),
        (
            ("workflow:arb_*", "bot:b1"),
            ("workflow:arb_", "workflow:arb_btc", "bot:b1"),
            ("all", "workflow:arb", "bot:b12", "bot:"),
        ),
        (("workflow:*_btc_*",), ("workflow:x_btc_y", "workflow:_btc_"), ("workflow:btc", "bot:x_btc_y")),
        ((PUBLISH,), (PUBLISH,), ("all", "workflow:publish", METRICS, OPERATE)),
        ((METRICS, OPERATE), (METRICS, OPERATE), ("all", PUBLISH)),
        ((), (), ("all", "workflow:w", PUBLISH, METRICS, OPERATE)),
    ],
)
def test_a_grant_allows_what_its_scopes_say(scopes: tuple[str, ...], allowed: tuple[str, ...], denied: tuple[str, ...]) -> None:
    grant = Grant.of("id", "name", scopes)
    assert [scope for scope in allowed + denied if grant.allows(scope)] == list(allowed)


def test_nothing_and_everything() -> None:
    asked = (*EVERYTHING, "workflow:w", "bot:b", "strategy:s")
    assert all(OPEN.allows(scope) for scope in asked)
    assert not any(NOTHING.allows(scope) for scope in asked)


@given(st.lists(st.text(max_size=20)))
def test_what_is_no_scope_gives_nothing(words: list[str]) -> None:
    """A login's token carries scopes of other services."""
    grant = Grant.of("id", "name", words)
    assert set(grant.topics) == {word for word in words if scope_problem(word) is None} - {PUBLISH, METRICS, OPERATE}
    assert not Grant.of("id", "name", ["openid", "*", "all_bots", "workflow", "workflow:", "node:*", "ALL"]).topics


@pytest.mark.parametrize(
    "scope", ["", "*", "workflow", "workflow:", "bot: ", "node:x", "All", "workflow:" + "x" * MAX_SCOPE_LENGTH]
)
def test_what_is_no_scope_is_named(scope: str) -> None:
    problem = scope_problem(scope)
    assert problem is not None
    assert str(MAX_SCOPE_LENGTH) in problem or (repr(scope) in problem and "workflow:<id>" in problem)


@pytest.mark.parametrize(("expires_at", "expired"), [(None, False), (99.0, True), (100.0, True), (100.5, False)])
def test_the_end(expires_at: float | None, expired: bool) -> None:
    assert Grant("id", "name", expires_at=expires_at).expired(100.0) is expired
