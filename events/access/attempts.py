"""Tokens that are guessed: after some wrong ones an address has to wait, longer each time, before another is looked at."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from events.access.refusal import Reason, TokenRefused
from events.conf import EventsConfig
from events.limits.address import limit_key
from events.limits.backoff import Backoff

_lock = Lock()


class TooManyAttempts(Exception):
    """The token was not looked at. `wait_s`: whole seconds after which one will be."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"Too many wrong tokens came from your address (WS_MAX_AUTH_FAILURES): try again in {wait_s} s.")
        self.wait_s = wait_s


@cache
def failures(allowed: int) -> Backoff:
    """The wrong tokens of each address, over sockets and HTTP together, in this process."""
    return Backoff(allowed)


@contextmanager
def attempt(address: str, config: EventsConfig) -> Iterator[None]:
    """Around looking at a token of this address. Raises `TooManyAttempts`; passes `TokenRefused` on, and counts
    it unless the token was valid once."""
    key, known = limit_key(address), failures(config.access.auth_failures)
    with _lock:
        wait_s = known.wait_s(key, time.monotonic()) if key else 0
    if wait_s:
        raise TooManyAttempts(math.ceil(wait_s))
    try:
        yield
    except TokenRefused as refusal:
        # Nobody guesses a token that was valid once.
        if key and refusal.reason is Reason.INVALID:
            with _lock:
                known.failed(key, time.monotonic())
        raise
    with _lock:
        known.succeeded(key)
