"""What a peer that breaks a protocol causes."""


class ProtocolError(ValueError):
    """The peer broke the protocol: its connection is to be closed, nothing else.

    The message is safe to log: it says of what kind and how long what the peer sent was, and where it went wrong. It repeats
    none of it, as a token may stand anywhere in what is broken.
    """


def size_of(received: str | bytes) -> str:
    """How long what a peer sent is, in words."""
    return f"{len(received)} {'characters' if isinstance(received, str) else 'bytes'}"
