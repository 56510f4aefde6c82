"""Every error that a client can be told, with its stable code.

A code never changes its meaning. Whether a repeat can help is part of the table, so that clients need not guess.
"""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table: `retry` says that the same request can succeed later without a change."""

    code: str
    retry: bool


AUTHENTICATION_REQUIRED: Final = ErrorKind("authentication_required", retry=False)
INSUFFICIENT_SCOPE: Final = ErrorKind("insufficient_scope", retry=False)
TOKEN_EXPIRED: Final = ErrorKind("token_expired", retry=False)
TOKEN_REVOKED: Final = ErrorKind("token_revoked", retry=False)
AUTHENTICATION_UNAVAILABLE: Final = ErrorKind("authentication_unavailable", retry=True)
INVALID_PAYLOAD: Final = ErrorKind("invalid_payload", retry=False)
MISSING_FIELD: Final = ErrorKind("missing_field", retry=False)
INVALID_FIELD: Final = ErrorKind("invalid_field", retry=False)
UNKNOWN_COMMAND: Final = ErrorKind("unknown_command", retry=False)
TOO_MANY_SUBSCRIPTIONS: Final = ErrorKind("too_many_subscriptions", retry=False)
RATE_LIMITED: Final = ErrorKind("rate_limited", retry=True)
AUTHENTICATION_TIMEOUT: Final = ErrorKind("authentication_timeout", retry=False)
TOO_MANY_ATTEMPTS: Final = ErrorKind("too_many_attempts", retry=True)
TOO_MANY_CONNECTIONS: Final = ErrorKind("too_many_connections", retry=True)
HISTORY_UNAVAILABLE: Final = ErrorKind("history_unavailable", retry=True)
INTERNAL_ERROR: Final = ErrorKind("internal_error", retry=True)

ALL_KINDS: Final = (
    AUTHENTICATION_REQUIRED,
    INSUFFICIENT_SCOPE,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    AUTHENTICATION_UNAVAILABLE,
    INVALID_PAYLOAD,
    MISSING_FIELD,
    INVALID_FIELD,
    UNKNOWN_COMMAND,
    TOO_MANY_SUBSCRIPTIONS,
    RATE_LIMITED,
    AUTHENTICATION_TIMEOUT,
    TOO_MANY_ATTEMPTS,
    TOO_MANY_CONNECTIONS,
    HISTORY_UNAVAILABLE,
    INTERNAL_ERROR,
)


class CommandError(Exception):
    """A client's command that cannot be carried out; becomes the `error` event of that client and nobody else's."""

    def __init__(self, kind: ErrorKind, message: str, field: str | None = None, **details: str | int) -> None:
        """`details` are further fields of the event, for programs."""
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.field = field
        self.details = details

    def payload(self) -> dict[str, Any]:
        """The body of the `error` event: the guide's `message` first."""
        body: dict[str, Any] = {"message": self.message, "code": self.kind.code}
        if self.field is not None:
            body["field"] = self.field
        return body | self.details
