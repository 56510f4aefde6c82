"""Numbered runs of workflows, as events; and who subscribes to what."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import orjson

from events.domain.topics import ALL, topic_name
from events.soak.ledger import Published

#: Runs that go on at the same time.
CONCURRENT_RUNS: Final = 20

#: The field in which the publisher counts: number of the event, of the run, and of the event in its run; and when it was
#: published, in nanoseconds of the machine's monotonic clock.
FIELD: Final = "soak"

#: A node fails now and then.
FAILING_NODES: Final = 0.03


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that waits to be published; its number is final, its time is not."""

    number: int
    run: int
    seq: int
    fields: dict[str, Any]

    def document(self) -> bytes:
        """Its JSON text, published now."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        counts = {"n": self.number, "run": self.run, "seq": self.seq, "at": time.monotonic_ns()}
        return orjson.dumps({**self.fields, "timestamp": stamp, FIELD: counts})


def workflow_id(index: int) -> str:
    return f"soak_workflow_{index:03d}"


class Catalogue:
    """Which workflows there are, and which bot and strategy each belongs to."""

    def __init__(self, workflows: int) -> None:
        self.workflows = workflows
        self.bots = max(1, workflows // 5)
        self.strategies = max(1, workflows // 10)

    def bot_id(self, index: int) -> str:
        return f"soak_bot_{index % self.bots:03d}"

    def strategy_id(self, index: int) -> str:
        return f"soak_strategy_{index % self.strategies:03d}"

    def topics(self, index: int) -> tuple[str, str, str, str]:
        """All topics of an event of the workflow."""
        return ALL, self.workflow(index), self.bot(index), self.strategy(index)

    def workflow(self, index: int) -> str:
        return topic_name("workflow", workflow_id(index % self.workflows))

    def bot(self, index: int) -> str:
        return topic_name("bot", self.bot_id(index))

    def strategy(self, index: int) -> str:
        return topic_name("strategy", self.strategy_id(index))


class Traffic:
    """Runs that go on side by side, one event after the other."""

    def __init__(self, catalogue: Catalogue, published: Published, random: Random) -> None:
        self.runs = 0
        self._catalogue = catalogue
        self._published = published
        self._random = random
        self._active: list[_Run] = []

    def next(self) -> Draft:
        """The next event; it is in the ledger from now on."""
        if len(self._active) < CONCURRENT_RUNS:
            self.runs += 1
            self._active.append(_Run(self.runs, self._random.randrange(self._catalogue.workflows), self._random))
            place = len(self._active) - 1
        else:
            place = self._random.randrange(len(self._active))
        run = self._active[place]
        fields = run.step(self._catalogue)
        if run.ended:
            del self._active[place]
        return Draft(self._published.add(self._catalogue.topics(run.workflow)), run.number, run.seq, fields)


class _Run:
    def __init__(self, number: int, workflow: int, random: Random) -> None:
        self.number = number
        self.workflow = workflow
        self.seq = 0
        self.ended = False
        self._random = random
        self._steps = 2 + 2 * random.randint(2, 6)
        self._failed = False

    def step(self, catalogue: Catalogue) -> dict[str, Any]:
        """The run's next event, without its number and time."""
        self.seq += 1
        self.ended = self.seq == self._steps
        return {
            **self._what(),
            "execution_id": f"exec_soak_{self.number:06d}",
            "workflow_id": workflow_id(self.workflow),
            "bot_id": catalogue.bot_id(self.workflow),
            "strategy_id": catalogue.strategy_id(self.workflow),
        }

    def _what(self) -> dict[str, Any]:
        if self.seq == 1:
            return {"type": "execution_started", "node_count": (self._steps - 2) // 2}
        if self.ended:
            status = "failed" if self._failed else "completed"
            return {"type": "execution_completed", "duration_ms": self._random.randint(50, 2_000), "status": status}
        node = {"node_id": f"node_{self.seq // 2}"}
        if self.seq % 2 == 0:
            return {"type": "node_started", **node, "node_name": f"Node {self.seq // 2}", "node_category": "providers"}
        duration = self._random.randint(1, 200)
        if self._random.random() < FAILING_NODES:
            self._failed = True
            return {"type": "node_failed", **node, "duration_ms": duration, "error": "Timeout", "error_type": "TimeoutError"}
        outputs = {"price": self._random.randint(1, 10**7) / 100, "volume": self._random.randint(1, 10**6) / 100}
        return {"type": "node_completed", **node, "duration_ms": duration, "status": "success", "outputs": outputs}


# -- who subscribes to what --------------------------------------------------------------------------------------------

_Shape = Callable[[Catalogue, int], tuple[str, ...]]


def _workflows(catalogue: Catalogue, index: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(catalogue.workflow(index + step) for step in range(3)))


def _bot(catalogue: Catalogue, index: int) -> tuple[str, ...]:
    return (catalogue.bot(index),)


def _bot_and_workflows(catalogue: Catalogue, index: int) -> tuple[str, ...]:
    """The first workflow is one of the bot's: each of its events is in two topics of the client."""
    return catalogue.bot(index), *_workflows(catalogue, index)[:2]


def _strategy(catalogue: Catalogue, index: int) -> tuple[str, ...]:
    return (catalogue.strategy(index),)


def _strategy_and_bot(catalogue: Catalogue, index: int) -> tuple[str, ...]:
    return catalogue.strategy(index), catalogue.bot(index)


def _everything(catalogue: Catalogue, index: int) -> tuple[str, ...]:
    return ALL, catalogue.workflow(index)


#: Twenty clients' worth. The first six are all different, for soaks with few clients; one in twenty takes everything.
_SHAPES: Final[tuple[_Shape, ...]] = (
    *(_workflows, _bot, _bot_and_workflows, _strategy, _everything, _strategy_and_bot),
    *(_workflows, _bot, _workflows, _bot_and_workflows, _workflows, _bot, _strategy) * 2,
)


def subscriptions(catalogue: Catalogue, client: int) -> tuple[str, ...]:
    """The topics of the client with this number; numbers are those within its transport."""
    shape = _SHAPES[client % len(_SHAPES)]
    return shape(catalogue, client * 7 % catalogue.workflows)
