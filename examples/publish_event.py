"""Publish events from an executor that knows nothing of the server's code.

    python publish_event.py                                         to the Redis Stream (REDIS_URL or redis://127.0.0.1:6379/0)
    python publish_event.py --url http://127.0.0.1:8001/api/events  over HTTP
    python publish_event.py --event '{"type": "signal_generated", …}'

`Publisher` is small enough to be copied into an executor. Redis needs the package `redis`, HTTP nothing.
"""

import argparse
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

STREAM = "workflow_events"

Event = dict[str, Any]


class Publisher:
    """Publishes events, one call per batch. When `publish` returns, the event bus has them."""

    def __init__(self, redis_url: str = "", url: str = "", token: str = "") -> None:
        """With `url`, over HTTP; otherwise to the Redis Stream."""
        self._url = url
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._redis = None
        if not url:
            import redis

            self._redis = redis.Redis.from_url(redis_url)

    def publish(self, *events: Event) -> None:
        """Raises `redis.RedisError`, or `urllib.error.URLError`, when the events were not taken."""
        if self._redis is None:
            request = urllib.request.Request(self._url, json.dumps(events).encode(), self._headers)
            urllib.request.urlopen(request, timeout=10).close()
            return
        pipeline = self._redis.pipeline()
        for event in events:
            pipeline.xadd(STREAM, {"event": json.dumps(event)}, maxlen=100_000, approximate=True)
        pipeline.execute()


def timestamp() -> str:
    """Now, as in 2026-01-24T10:00:00.000Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def run_of(workflow_id: str) -> Iterator[Event]:
    """A run with one node, in real time."""
    execution_id = f"exec_{workflow_id}_{secrets.token_hex(4)}"
    began = time.monotonic()

    def event(kind: str, **fields: Any) -> Event:
        common = {"type": kind, "execution_id": execution_id, "workflow_id": workflow_id, "bot_id": "bot_001"}
        return {**common, "timestamp": timestamp(), **fields}

    def elapsed_ms() -> int:
        return round((time.monotonic() - began) * 1000)

    yield event("execution_started", node_count=1)
    yield event("node_started", node_id="price_binance", node_name="Binance Price Feed", node_category="providers")
    time.sleep(0.05)
    outputs = {"price": 50234.56, "volume": 1234.56}
    yield event("node_completed", node_id="price_binance", duration_ms=elapsed_ms(), status="success", outputs=outputs)
    yield event("execution_completed", duration_ms=elapsed_ms(), status="completed", results={})


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish one workflow run, or one event.")
    parser.add_argument(
        "--redis", default=os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0", help="Redis to publish to"
    )
    parser.add_argument("--url", default="", help="publish over HTTP instead, for example http://127.0.0.1:8001/api/events")
    parser.add_argument("--token", default=os.environ.get("WS_AUTH_TOKEN", ""), help="token for HTTP, if the server wants one")
    parser.add_argument("--workflow", default="my_workflow_001", help="workflow_id of the run")
    parser.add_argument("--event", type=json.loads, help="publish this JSON object instead of a run")
    options = parser.parse_args()

    try:
        publisher = Publisher(options.redis, options.url, options.token)
        for event in [options.event] if options.event else run_of(options.workflow):
            publisher.publish(event)
            print(f"published {event.get('type')} of {event.get('execution_id')}")
    except urllib.error.HTTPError as error:
        sys.exit(f"{options.url} answers {error.code}: {error.read().decode(errors='replace')}")
    except Exception as error:
        sys.exit(f"Not published: {error}")


if __name__ == "__main__":
    main()
