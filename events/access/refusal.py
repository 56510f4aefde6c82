"""Why a token is worth nothing."""

from enum import StrEnum


class Reason(StrEnum):
    """Stable codes, which clients are told."""

    INVALID = "invalid_token"
    EXPIRED = "token_expired"
    REVOKED = "token_revoked"


class TokenRefused(Exception):
    """A token that is worth nothing. The message never holds the token."""

    def __init__(self, reason: Reason = Reason.INVALID) -> None:
        super().__init__(reason.value)
        self.reason = reason
