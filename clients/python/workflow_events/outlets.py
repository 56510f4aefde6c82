"""Where events are published to."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from workflow_events.buffer import Batch

#: Seconds that one attempt may take.
TIMEOUT_S: Final = 10.0

#: Seconds that a server's Retry-After is heeded for.
LONGEST_RETRY_AFTER_S: Final = 60.0

#: Seconds for which Redis knows how far a publisher has come. A batch that is repeated later than that may come twice.
CURSOR_TTL_S: Final = 24 * 3600


class Unavailable(Exception):
    """The events were not taken; the same ones may be later, after `retry_after_s` if the server says so."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """Nothing was taken, because of these events: index in the batch to reason. The others may be sent without them."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(next(iter(reasons.values()), ""))
        self.reasons = reasons


class TooLarge(Exception):
    """Nothing was taken, because it was too much at once."""


class Outlet(Protocol):
    """One way to the event bus. `where` is its address for messages, without secrets."""

    where: str

    def send(self, batch: Batch) -> None:
        """Returns when the bus has all events. Raises `Unavailable`, `Refused` or `TooLarge`."""

    def close(self) -> None:
        """Let go of connections."""


class RedisOutlet:
    """The Redis Stream that the server's relay reads. A batch that is repeated, because its answer was lost, is added once."""

    def __init__(self, url: str, stream: str, max_events: int) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ImportError('Redis needs the package redis: pip install "workflow-events[redis]"') from None
        parts = urlsplit(url)
        self.where = f"the stream {stream} at {parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
        self._errors = (redis.RedisError, OSError)
        self._redis: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._append = self._redis.register_script(files(__package__).joinpath("append.lua").read_text())
        self._stream = stream
        self._max_events = max_events

    def send(self, batch: Batch) -> None:
        # The tag in braces keeps the cursor where a cluster has the stream.
        keys = [self._stream, f"{{{self._stream}}}:publisher:{batch.publisher_id}"]
        try:
            self._append(keys, [batch.first, self._max_events, CURSOR_TTL_S, *batch.documents])
        except self._errors as error:
            raise Unavailable(f"{self.where}: {error}") from error

    def close(self) -> None:
        self._redis.close()


class HttpOutlet:
    """`POST /api/events` of a server. A batch that is repeated, because its answer was lost, may be published twice."""

    def __init__(self, url: str, token: str | Callable[[], str] | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must be the server's address, such as http://localhost:8001; {url!r} is none.")
        self.where = url.rstrip("/").removesuffix("/api/events") + "/api/events"
        self._token = token

    def send(self, batch: Batch) -> None:
        headers = {"Content-Type": "application/json"}
        try:
            token = self._token() if callable(self._token) else self._token
            if token:
                headers["Authorization"] = f"Bearer {token}"
            body = b"[" + b",".join(batch.documents) + b"]"
            request = urllib.request.Request(self.where, body, headers)  # noqa: S310 - checked above
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            with error:
                raise _failure(self.where, error, error.read()) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise Unavailable(f"{self.where}: {reason or type(error).__name__}") from error

    def close(self) -> None:
        """Each request has a connection of its own."""


def _failure(where: str, error: urllib.error.HTTPError, body: bytes) -> Exception:
    status, answer = error.code, _answer(body)
    reasons = {refusal["index"]: refusal["message"] for refusal in answer.get("errors", [])}
    if status == 400 and reasons:
        return Refused(reasons)
    if status == 413:
        return TooLarge(str(answer.get("message", "")))
    after = error.headers.get("Retry-After", "")
    retry_after_s = min(float(after), LONGEST_RETRY_AFTER_S) if after.isdecimal() else 0.0
    return Unavailable(f"{where} answers {status}: {answer.get('message', 'no reason given')}", retry_after_s)


def _answer(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
