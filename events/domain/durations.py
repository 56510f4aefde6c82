"""What nodes usually take, learnt from executions that ended."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

from events.domain.execution import RUNNING, Execution

#: Durations that are remembered of a node: enough for a median, few enough to follow when a node changes.
REMEMBERED: Final = 20

#: Nodes that are remembered of a workflow.
MAX_NODES: Final = 500

#: The last durations in seconds of each node of a workflow, oldest first.
Durations = Mapping[str, list[float]]

#: Seconds that a node usually takes, by workflow and node.
Typical = Mapping[tuple[str, str], float]


def durations(executions: Iterable[Execution]) -> dict[str, dict[str, list[float]]]:
    """By workflow and node, how long the nodes took that ended."""
    found: dict[str, dict[str, list[float]]] = {}
    for execution in executions:
        for node in execution.nodes.values():
            if node.status != RUNNING and node.duration_ms is not None and node.duration_ms >= 0:
                nodes = found.setdefault(execution.workflow_id, {})
                nodes.setdefault(node.node_id, []).append(node.duration_ms / 1000)
    return found


def joined(before: Durations, after: Durations) -> dict[str, list[float]]:
    """Both, as much as is remembered; the nodes of `after` go before others when there are too many."""
    nodes = {node: [*before.get(node, ()), *seconds][-REMEMBERED:] for node, seconds in after.items()}
    nodes |= {node: seconds for node, seconds in before.items() if node not in nodes}
    return dict(list(nodes.items())[:MAX_NODES])


def usual(remembered: Mapping[str, Durations], executions: Iterable[Execution]) -> Typical:
    """As remembered, else as these executions themselves show."""
    return {**typical(durations(executions)), **typical(remembered)}


def typical(by_workflow: Mapping[str, Durations]) -> Typical:
    """The median of each."""
    return {(workflow, node): median(seconds) for workflow, nodes in by_workflow.items() for node, seconds in nodes.items()}
