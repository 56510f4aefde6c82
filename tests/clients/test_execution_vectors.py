"""The states of executions that server and clients agree on: `clients/vectors/executions.json`.

Each vector has events, each with its number in the journal, and the state after them in the shape of `execution_snapshot`.
"""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from events.domain.snapshot import fold_all
from tests.conftest import ROOT

VECTORS: Final = ROOT / "clients" / "vectors" / "executions.json"
JAVASCRIPT: Final = ROOT / "clients" / "js" / "test" / "fold.test.js"

TYPES: Final = (
    "execution_started",
    "node_started",
    "node_completed",
    "node_failed",
    "execution_completed",
    "custom",
    "toString",
)
TIMES: Final = (
    *(f"2026-01-24T10:00:{second:02}.000Z" for second in range(8)),
    "2026-01-24T10:00:04.0001Z",
    "2026-01-24T10:00:04.0002",
    "2026-01-24 10:00:05+00:00",
    "2026-01-24T11:00:05.5+01:00",
    "20260124T100003Z",
    "2026-01-24",
    "2026-02-30T10:00:00Z",
    "2026-01-24T10:00:60Z",
    "soon",
)
VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    7,
    5.0,
    1.5,
    -3,
    2**53,
    2**53 - 1,
    10**30,
    "",
    "text",
    "running",
    "failed",
    "é" * 1_001,
    "🚀" * 1_001,
    [],
    {},
)
FIELDS: Final = (
    "status",
    "duration_ms",
    "error",
    "error_type",
    "node_count",
    "bot_id",
    "strategy_id",
    "node_name",
    "node_category",
)


def state_of(vector: dict[str, Any]) -> dict[str, Any]:
    return fold_all(None, [(event, number) for number, event in vector["events"]]).to_dict()


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text()), ids=lambda vector: vector["name"])
def test_the_server_agrees(vector: dict[str, Any]) -> None:
    assert state_of(vector) == vector["state"]


def random_event(chance: random.Random) -> dict[str, Any]:
    event: dict[str, Any] = {
        "type": chance.choice(TYPES),
        "execution_id": "x",
        "workflow_id": "w",
        "timestamp": chance.choice(TIMES),
        "node_id": chance.choice(("a", "b", "c", "a", "b", None, "", "n" * 1_001, "🚀" * 600)),
    }
    return event | {name: chance.choice(VALUES) for name in chance.sample(FIELDS, chance.randint(0, 4))}


def random_vector(seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    numbers = sorted(chance.choices(range(1, 40), k=chance.randint(1, 25)))
    # As they come off the wire.
    events = orjson.loads(json.dumps([[number, random_event(chance)] for number in numbers]))
    vector = {"name": f"seed {seed}", "events": events}
    return vector | {"state": state_of(vector)}


def run_node(vectors: Path) -> subprocess.CompletedProcess[str]:
    command = ["node", "--test", str(JAVASCRIPT)]
    environment = {"PATH": os.environ["PATH"], "VECTORS": str(vectors)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_javascript_agrees() -> None:
    done = run_node(VECTORS)
    assert done.returncode == 0, done.stdout


def test_javascript_agrees_on_random_histories(tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.json"
    vectors.write_text(json.dumps([random_vector(seed) for seed in range(300)]))
    done = run_node(vectors)
    assert done.returncode == 0, done.stdout[:5_000]
