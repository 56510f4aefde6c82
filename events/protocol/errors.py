"""What a peer that breaks a protocol causes."""

from typing import Final

EXCERPT_CHARS: Final = 50


class ProtocolError(ValueError):
    """The peer broke the protocol: its connection is to be closed, nothing else.

    The message is safe to log: of what the peer sent it holds a short excerpt at most, with control characters escaped.
    """


def excerpt(received: str | bytes) -> str:
    """The beginning of what a peer sent, as a literal of about `EXCERPT_CHARS` characters."""
    return repr(received[:EXCERPT_CHARS])[: EXCERPT_CHARS + 2]
