"""From a token to its grant."""

from enum import StrEnum

from events.access.shared import shared_grant
from events.conf import EventsConfig
from events.domain.grants import Grant


class Reason(StrEnum):
    """Why a token is worth nothing."""

    INVALID = "invalid_token"
    EXPIRED = "token_expired"
    REVOKED = "token_revoked"


class TokenRefused(Exception):
    """A token that is worth nothing. The message never holds the token."""

    def __init__(self, reason: Reason = Reason.INVALID) -> None:
        super().__init__(reason.value)
        self.reason = reason


def identify(token: str, config: EventsConfig) -> Grant:
    """The grant of a token. Raises `TokenRefused`."""
    grant = shared_grant(token, config)
    if grant is None:
        raise TokenRefused
    return grant
