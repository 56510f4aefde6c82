"""Workflow runs as Celery tasks: each worker process has a publisher of its own, and a run may span several tasks.

    celery -A tasks worker --concurrency 2        the worker, in this folder
    python tasks.py                               starts a run

BROKER_URL is Celery's broker, EVENTS_URL the server, EVENTS_SPOOL the folder where events wait.
"""

import os
import tempfile
from pathlib import Path

from celery import Celery, chain
from celery.signals import worker_process_init, worker_process_shutdown

from workflow_events import Publisher

app = Celery("tasks", broker=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/1"))

_publisher: Publisher | None = None


@worker_process_init.connect
def start_publisher(**_: object) -> None:
    """A publisher has a thread, which no fork would take along: it is made in each process, after the fork."""
    global _publisher
    _publisher = Publisher.to_http(
        os.environ.get("EVENTS_URL", "http://127.0.0.1:8001"),
        token=os.environ.get("WS_AUTH_TOKEN"),
        # The processes share the folder; each takes a part of it, or one that a killed process has left.
        spool=os.environ.get("EVENTS_SPOOL", Path(tempfile.gettempdir()) / "celery-events-spool"),
    )


@worker_process_shutdown.connect
def stop_publisher(**_: object) -> None:
    if _publisher is not None:
        _publisher.close()


def publisher() -> Publisher:
    """The publisher of this process."""
    assert _publisher is not None, "tasks are run by a worker"
    return _publisher


@app.task
def whole_run(workflow_id: str) -> None:
    """A run within one task."""
    with publisher().execution(workflow_id, bot_id="celery", node_count=1) as run, run.node("fetch") as node:
        node.outputs["price"] = 50234.56


@app.task
def first_step(workflow_id: str, execution_id: str) -> None:
    """A run that goes on in another task, perhaps in another process: only its nodes are contexts here."""
    run = publisher().execution(workflow_id, bot_id="celery", execution_id=execution_id)
    run.emit("execution_started", node_count=2)
    with run.node("fetch") as node:
        node.outputs["price"] = 50234.56
    # The next task may begin as soon as this one has ended; what comes first must be there first.
    publisher().flush(timeout_s=5)


@app.task
def last_step(workflow_id: str, execution_id: str) -> None:
    run = publisher().execution(workflow_id, bot_id="celery", execution_id=execution_id)
    with run.node("order"):
        pass
    run.emit("execution_completed", status="completed", results={})


if __name__ == "__main__":
    whole_run.delay("celery_whole")
    chain(
        first_step.si("celery_steps", "exec_celery_steps_1"),
        last_step.si("celery_steps", "exec_celery_steps_1"),
    ).delay()
