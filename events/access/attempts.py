"""Secrets that are guessed, tokens and passwords: after some wrong ones an address has to wait before another is looked at,
longer each time.

A right one makes nothing good, or who has one could guess others in between. But a token that was right at an address is
always looked at there: those who stand behind the same address as somebody who guesses stay connected.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Final

from events.access.refusal import Reason, TokenRefused
from events.conf import EventsConfig
from events.limits.address import limit_key
from events.limits.backoff import Backoff

_lock = Lock()

#: Right tokens that are remembered, each for one address.
MAX_RIGHT: Final = 10_000


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


class RightTokens:
    """Which tokens were right, at which address. Those that were used last, and of each its hash."""

    def __init__(self, max_kept: int = MAX_RIGHT) -> None:
        self._max_kept = max_kept
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def has(self, key: str, token: str) -> bool:
        return _digest(key, token) in self._known

    def note(self, key: str, token: str, *, right: bool) -> None:
        """What became of a token."""
        digest = _digest(key, token)
        self._known.pop(digest, None)
        if right:
            self._known[digest] = None
            if len(self._known) > self._max_kept:
                self._known.popitem(last=False)

    def __len__(self) -> int:
        return len(self._known)


def _digest(key: str, token: str) -> bytes:
    return hashlib.sha256(f"{key} {token}".encode(errors="replace")).digest()


@cache
def right_tokens() -> RightTokens:
    """Those of this process."""
    return RightTokens()


def unchecked() -> None:
    """The check of those whom no waiting time concerns."""


def _refuse_early(kind: str, wait_s: float) -> None:
    if wait_s:
        raise TooManyAttempts(kind, math.ceil(wait_s))


@contextmanager
def attempt(
    address: str,
    config: EventsConfig,
    token: str = "",
    kind: str = "token",
    is_wrong: Callable[[Exception], bool] = _is_wrong_token,
) -> Iterator[Callable[[], None]]:
    """Around looking at a secret of this address; `token` when it is one. Raises `TooManyAttempts`; passes every other
    exception on, and counts those that say the secret is wrong.

    Where secrets wait to be looked at, what this gives is to be called when it is this one's turn, from any thread: it raises
    `TooManyAttempts` where too many were found wrong meanwhile.
    """
    key = limit_key(address)
    if not key:
        yield unchecked
        return
    known, right = failures(kind, config.access.auth_failures), right_tokens()
    with _lock:
        welcome = bool(token) and right.has(key, token)
        wait_s = 0.0 if welcome else known.begin(key, time.monotonic())
    _refuse_early(kind, wait_s)

    def check_again() -> None:
        with _lock:
            wait_s = 0.0 if welcome else known.wait_s(key, time.monotonic())
        _refuse_early(kind, wait_s)

    wrong = done = False
    try:
        yield check_again
        done = True
    except Exception as error:
        wrong = is_wrong(error)
        raise
    finally:
        with _lock:
            if not welcome:
                known.end(key, time.monotonic(), failed=wrong)
            elif wrong:
                known.fail(key, time.monotonic())
            if token and (done or wrong):
                right.note(key, token, right=done)
