"""An executor as others write it: a program of its own that knows Redis and nothing of the server's code.

    python executor.py REDIS_URL stream|channel EVENTS_PER_SECOND FILE

The file has one JSON object per line. Each event gets the time at which it is published. A rate of 0 publishes all of them at
once.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import redis

NAME = "workflow_events"

#: How often something is published where there is a rate.
TICK_S = 0.05


def main() -> None:
    url, way, per_second = sys.argv[1], sys.argv[2], float(sys.argv[3])
    events = [json.loads(line) for line in Path(sys.argv[4]).read_text().splitlines()]
    share = max(1, round(per_second * TICK_S)) if per_second else len(events)
    with redis.Redis.from_url(url) as bus:
        began = time.monotonic()
        for first in range(0, len(events), share):
            time.sleep(max(0.0, began + (first / per_second if per_second else 0.0) - time.monotonic()))
            publish(bus, way, events[first : first + share])


def publish(bus: "redis.Redis", way: str, events: list[dict[str, object]]) -> None:
    pipeline = bus.pipeline(transaction=False)
    for event in events:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = json.dumps({**event, "timestamp": now})
        if way == "stream":
            pipeline.xadd(NAME, {"event": text})
        else:
            pipeline.publish(NAME, text)
    answers = pipeline.execute()
    if way == "channel" and not all(answers):
        sys.exit("Nobody listens on the channel.")


if __name__ == "__main__":
    main()
