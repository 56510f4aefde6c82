"""An executor that tells what it does, with the publisher in clients/python.

    python executor.py                                         over HTTP to http://127.0.0.1:8001
    python executor.py --redis redis://127.0.0.1:6379/0        to the Redis Stream
    python executor.py --fail                                  a run in which a node fails

Events wait on disk while nobody takes them: start it without a server, end it, and start it again later.
"""

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from workflow_events import Publisher


def trade(publisher: Publisher, workflow: str, *, fail: bool) -> None:
    """One run of a workflow with three nodes. What goes wrong in it is told, and goes on to the caller."""
    with publisher.execution(workflow, bot_id="bot_001", strategy_id="arbitrage_v1", node_count=3) as run:
        with run.node("price_binance", name="Binance Price Feed", category="providers") as node:
            price = node.outputs["price"] = round(random.uniform(50_000, 51_000), 2)
            time.sleep(0.05)
        with run.node("spread", name="Spread", category="conditions") as node:
            node.outputs["passed"] = True
        run.emit("signal_generated", signal="buy", symbol="BTC/USDT", price=price)
        with run.node("action_1", name="Buy", category="actions") as node:
            if fail:
                raise TimeoutError("Connection timeout")
            run.results["action_1"] = node.outputs["order"] = {"order_id": "order_123", "filled": True}


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a workflow and publish its events.")
    parser.add_argument("--url", default="http://127.0.0.1:8001", help="the server (default http://127.0.0.1:8001)")
    parser.add_argument("--redis", help="publish to the Redis Stream there instead")
    parser.add_argument("--token", default=os.environ.get("WS_AUTH_TOKEN", ""), help="token for HTTP, if the server wants one")
    parser.add_argument("--workflow", default="my_workflow_001", help="workflow_id of the run")
    parser.add_argument("--fail", action="store_true", help="let a node fail")
    spool = Path(tempfile.gettempdir()) / "workflow-events-spool"
    parser.add_argument("--spool", default=spool, help=f"where events wait (default {spool})")
    options = parser.parse_args()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    if options.redis:
        publisher = Publisher.to_redis(options.redis, spool=options.spool)
    else:
        publisher = Publisher.to_http(options.url, token=options.token, spool=options.spool)
    try:
        with publisher:
            trade(publisher, options.workflow, fail=options.fail)
    except TimeoutError as error:
        print(f"The run failed: {error}")
    stats = publisher.stats
    print(f"{stats.published} events published, {stats.pending} wait in {options.spool}")
    if stats.pending:
        sys.exit(1)


if __name__ == "__main__":
    main()
