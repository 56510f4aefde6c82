"""Requests and replies as JSON."""

import orjson

from events.ports import ControlReply, ControlRequest


def encode(message: ControlRequest | ControlReply) -> bytes:
    """The message as a JSON object."""
    return orjson.dumps(message)


def decode_request(text: bytes) -> ControlRequest:
    """The request that `encode` made the text of."""
    return ControlRequest(**orjson.loads(text))


def decode_reply(text: bytes) -> ControlReply:
    """The reply that `encode` made the text of."""
    return ControlReply(**orjson.loads(text))
