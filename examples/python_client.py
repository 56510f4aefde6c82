"""Follow a workflow from Python.

    python python_client.py --workflow arb_btc_001

Needs the package `python-socketio[asyncio_client]`.
"""

import argparse
import asyncio
import os
import sys
from typing import Any

import socketio


async def follow(url: str, workflow: str, token: str) -> None:
    """Print the workflow's events until cancelled, or refused. The client reconnects by itself, and subscribes anew each time.

    `socketio.Client` would do as well, but it handles each event in a thread of its own: two that come together may be
    handled in either order.
    """
    sio = socketio.AsyncClient(handle_sigint=False)  # asyncio.run has its own
    refused = asyncio.Event()

    async def subscribe() -> None:
        await sio.emit("subscribe_workflow", {"workflow_id": workflow})

    async def connected(data: dict[str, Any]) -> None:
        print(f"Connected as {data['sid']}")
        if data["auth_required"]:
            await sio.emit("authenticate", {"token": token})
        else:
            await subscribe()

    async def auth_response(data: dict[str, Any]) -> None:
        print(data["message"])
        if data["success"]:
            await subscribe()
        else:
            refused.set()

    def recent_events(data: dict[str, Any]) -> None:
        print(f"{data['count']} recent events:")
        for event in data["events"]:
            show(event)

    def error(data: dict[str, Any]) -> None:
        print(f"Error: {data['message']}", file=sys.stderr)

    def disconnect(reason: str) -> None:
        print(f"Disconnected: {reason}")

    for handler in (connected, auth_response, recent_events, error, disconnect):
        sio.on(handler.__name__, handler)
    sio.on("workflow_event", show)
    await sio.connect(url)
    try:
        await refused.wait()
    finally:
        await sio.disconnect()


def show(event: dict[str, Any]) -> None:
    print(f"{event['timestamp']}  {event['type']:<20} {event['execution_id']}  {event.get('node_id', '')}", flush=True)


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
    except socketio.exceptions.ConnectionError as error:
        sys.exit(f"Cannot connect to {options.url}: {error}")


if __name__ == "__main__":
    main()
