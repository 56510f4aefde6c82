"""Tokens."""

import hmac

from events.conf import EventsConfig


def token_matches(candidate: object, config: EventsConfig | None = None) -> bool:
    """Whether this is one of the configured tokens, compared in constant time. Anything will do where none is required."""
    config = config or EventsConfig.from_settings()
    tokens = config.auth_tokens
    if not tokens:
        return not config.require_auth
    if not isinstance(candidate, str):
        return False
    # A lone surrogate cannot be encoded, and is in no token.
    given = candidate.encode(errors="replace")
    # Every token is compared, so that the time taken does not tell which one was nearly right.
    matches = [hmac.compare_digest(given, token.encode()) for token in tokens]
    return any(matches)
