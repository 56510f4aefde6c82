"""Follow a workflow from Python, with the client in clients/python.

python python_client.py --workflow arb_btc_001
"""

import argparse
import asyncio
import os
import sys

from workflow_events import AsyncClient, Connected, Disconnected, Event, Missed, WorkflowEventsError


async def follow(url: str, workflow: str, token: str) -> None:
    """Print what happens until cancelled. `async for event in subscription` gives the events alone."""
    async with AsyncClient(url, token=token).subscribe(workflow=workflow) as subscription:
        async for item in subscription.items():
            match item:
                case Event():
                    print(f"{item['timestamp']}  {item.type:<20} {item.execution_id}  {item.node_id or ''}", flush=True)
                case Missed():
                    print(f"Missed: {item.details}", file=sys.stderr)
                case Connected():
                    print(f"Connected as {item.sid}")
                case Disconnected():
                    print(f"Disconnected: {item.reason}; again in {item.retry_in_s:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow a workflow.")
    parser.add_argument("--url", default="http://127.0.0.1:8001", help="the server (default http://127.0.0.1:8001)")
    parser.add_argument("--workflow", default="arb_btc_001", help="workflow_id to follow (default arb_btc_001)")
    parser.add_argument("--token", default=os.environ.get("WS_AUTH_TOKEN", ""), help="token, if the server wants one")
    options = parser.parse_args()
    try:
        asyncio.run(follow(options.url, options.workflow, options.token))
    except KeyboardInterrupt:
        pass
    except WorkflowEventsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
