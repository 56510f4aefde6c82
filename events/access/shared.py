"""The tokens of `WS_AUTH_TOKEN`: whoever has one may do everything."""

import hmac

from events.conf import EventsConfig
from events.domain.grants import CONFIGURED, EVERYTHING, Grant


def shared_grant(token: str, config: EventsConfig) -> Grant | None:
    """The grant of one of the configured tokens, compared in constant time; None for any other text."""
    # A lone surrogate cannot be encoded, and is in no token.
    given = token.encode(errors="replace")
    # Every token is compared, so that the time taken does not tell which one was nearly right.
    matches = [hmac.compare_digest(given, known.encode()) for known in config.auth_tokens]
    if True not in matches:
        return None
    place = matches.index(True) + 1
    return Grant.of(f"{CONFIGURED}{place}", f"WS_AUTH_TOKEN, number {place}", EVERYTHING)
