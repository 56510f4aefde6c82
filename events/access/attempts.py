"""Secrets that are guessed, tokens and passwords: after some wrong ones an address has to wait before another is looked at,
longer each time."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from events.access.refusal import Reason, TokenRefused
from events.conf import EventsConfig
from events.limits.address import limit_key
from events.limits.backoff import Backoff

_lock = Lock()


class TooManyAttempts(Exception):
    """The secret was not looked at. `wait_s`: whole seconds after which one will be."""

    def __init__(self, kind: str, wait_s: int) -> None:
        super().__init__(f"Too many wrong {kind}s came from your address (WS_MAX_AUTH_FAILURES): try again in {wait_s} s.")
        self.wait_s = wait_s


@cache
def failures(kind: str, allowed: int) -> Backoff:
    """The wrong secrets of each address, over sockets and HTTP together, in this process. Each kind has its own: a program
    with an old token does not lock people out who stand behind the same address."""
    return Backoff(allowed)


def _is_wrong_token(error: Exception) -> bool:
    # Nobody guesses a token that was valid once.
    return isinstance(error, TokenRefused) and error.reason is Reason.INVALID


@contextmanager
def attempt(
    address: str, config: EventsConfig, kind: str = "token", is_wrong: Callable[[Exception], bool] = _is_wrong_token
) -> Iterator[None]:
    """Around looking at a secret of this address. Raises `TooManyAttempts`; passes every other exception on, and counts those
    that say the secret is wrong."""
    key, known = limit_key(address), failures(kind, config.access.auth_failures)
    with _lock:
        wait_s = known.wait_s(key, time.monotonic()) if key else 0
    if wait_s:
        raise TooManyAttempts(kind, math.ceil(wait_s))
    try:
        yield
    except Exception as error:
        if key and is_wrong(error):
            with _lock:
                known.failed(key, time.monotonic())
        raise
    with _lock:
        known.succeeded(key)
