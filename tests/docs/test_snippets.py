"""Every JavaScript and Python snippet of the documentation is run: clients in Node and Python, publishers, the example test."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import ROOT
from tests.docs.conftest import TOKEN, Place
from tests.docs.pages import CLIENT, GUIDE, README, Block, blocks
from tests.system.stack import Program, await_condition

JAVASCRIPT_CLIENT: Final = ROOT / "clients" / "js" / "README.md"
JAVASCRIPT: Final = [block for page in (README, GUIDE, JAVASCRIPT_CLIENT) for block in blocks(page, "javascript")]
TSX: Final = [block for page in (GUIDE, JAVASCRIPT_CLIENT) for block in blocks(page, "tsx")]
PYTHON: Final = [block for page in (README, GUIDE, CLIENT) for block in blocks(page, "python")]

CLIENTS: Final = [
    block for block in PYTHON if any(text in block.text for text in ("socketio.", "for message in socket", ".subscribe("))
]
TESTS: Final = [block for block in PYTHON if "def test_" in block.text]
PUBLISHERS: Final = [block for block in PYTHON if block not in CLIENTS + TESTS]

#: Command -> the event that answers it.
ANSWERS: Final = {"authenticate": "auth_response", "request_stats": "stats_update"}


def event_of(workflow: str) -> dict[str, Any]:
    return {
        "type": "node_completed",
        "execution_id": "exec_1",
        "workflow_id": workflow,
        "node_id": "price_binance",
        "timestamp": "2026-01-24T10:00:00.000Z",
    }


def answer_of(command: str) -> str:
    return ANSWERS.get(command, "unsubscribed" if command.startswith("un") else "subscribed")


def program(argv: list[str], environment: dict[str, str], folder: Path) -> Program:
    return Program(argv, {**environment, "PYTHONWARNINGS": "error"}, folder / "snippet.log")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    block: Block = request.getfixturevalue("block")
    return request.getfixturevalue("secured" if TOKEN in block.text else "embedded")  # type: ignore[no-any-return]


# -- JavaScript --------------------------------------------------------------------------------------------------------


def module(block: Block, place: Place, folder: Path) -> Path:
    """The snippet as a program; what a fragment takes for granted stands before it, and what arrives is printed."""
    text = block.text
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    path = folder / "snippet.mjs"
    if "workflow-events" in text:
        text += "\nclient.on('event', () => console.log('@' + JSON.stringify({ name: 'workflow_event' })));\n"
        path.write_text(place.localize(text + "client.on('error', console.error);\n"))
        return path
    if "io(" not in text:
        text = "const socket = io('http://localhost:8001');\n" + text
    if "import " not in text:
        text = "import { io } from 'socket.io-client';\n" + text
    text += "\nsocket.onAny((name, data) => console.log('@' + JSON.stringify({ name, data })));\n"
    path.write_text(place.localize(text))
    return path


def arrived(node: Program) -> "Counter[str]":
    """How often each event came."""
    lines = [line for line in node.log.splitlines(keepends=True) if line.startswith("@") and line.endswith("\n")]
    return Counter(json.loads(line[1:])["name"] for line in lines)


@pytest.mark.parametrize("block", JAVASCRIPT, ids=str)
def test_javascript(block: Block, place: Place, tmp_path: Path, plain_environment: dict[str, str]) -> None:
    expected = Counter(answer_of(command) for command in re.findall(r"emit\(['\"](\w+)", block.text))
    node = program(["node", str(module(block, place, tmp_path))], plain_environment, tmp_path)
    try:
        await_condition(lambda: expected <= arrived(node), lambda: f"{expected} of {arrived(node)}\n{node.log}")
        if "workflow_event" in block.text or "onEvent" in block.text:
            named = re.findall(r"workflow(?:_id)?: ['\"](\w+)['\"]", block.text)
            assert named or 'subscribe("all"' in block.text
            (workflow,) = named or ["any_workflow"]
            place.server.publish(event_of(workflow), token=place.token)
            await_condition(lambda: arrived(node)["workflow_event"] > 0, lambda: node.log)
        assert "error" not in arrived(node)
        assert node.code is None, node.log
    finally:
        node.stop()


@pytest.fixture(scope="module")
def compiler() -> Path:
    """The TypeScript compiler, with which the types of the client have been made."""
    tsc = ROOT / "node_modules" / ".bin" / "tsc"
    types = subprocess.run([tsc, "--project", ROOT / "clients" / "js"], capture_output=True, text=True, check=False)
    assert types.returncode == 0, types.stdout
    return tsc


@pytest.mark.parametrize("block", TSX, ids=str)
def test_tsx_compiles_against_the_types_of_the_client(block: Block, compiler: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "snippet.tsx").write_text(block.text)
    options = ("--ignoreConfig", "--strict", "--noEmit", "--jsx", "react-jsx", "--module", "nodenext", "--target", "es2023")
    done = subprocess.run([compiler, *options, "snippet.tsx"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# -- Python ------------------------------------------------------------------------------------------------------------


def source(block: Block, place: Place, folder: Path) -> Path:
    path = folder / "test_snippet.py"
    path.write_text(place.localize(block.text).replace('spool="spool"', f'spool="{folder}/spool"'))
    return path


@pytest.mark.parametrize("block", CLIENTS, ids=str)
def test_python_clients(block: Block, place: Place, tmp_path: Path, plain_environment: dict[str, str]) -> None:
    (workflow,) = set(re.findall(r"workflow(?:_id['\"]: |=)['\"](\w+)['\"]", block.text))
    subscribed = f'"topic":"workflow:{workflow}"'
    before = place.server.log.count(subscribed)
    client = program([sys.executable, str(source(block, place, tmp_path))], plain_environment, tmp_path)
    try:
        await_condition(lambda: place.server.log.count(subscribed) > before, lambda: client.log)
        place.server.publish(event_of(workflow))
        await_condition(lambda: "node_completed" in client.log, lambda: client.log)
    finally:
        client.stop()


@pytest.mark.parametrize("block", TESTS, ids=str)
def test_the_example_test_passes(block: Block, place: Place, tmp_path: Path, plain_environment: dict[str, str]) -> None:
    options = ["-q", "-p", "no:django", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    argv = [sys.executable, "-m", "pytest", *options, str(source(block, place, tmp_path))]
    run = Program(argv, plain_environment, tmp_path / "snippet.log")
    assert run.wait() == 0, run.log


@pytest.mark.parametrize("block", PUBLISHERS, ids=str)
def test_python_publishers(block: Block, deployed: Place, tmp_path: Path, plain_environment: dict[str, str]) -> None:
    path = source(block, deployed, tmp_path)
    inside = ["manage.py", "shell", "-v", "0", "-c", path.read_text()]
    argv = [sys.executable, *(inside if "from events." in block.text else [str(path)])]
    with deployed.subscriber() as subscriber:
        subscriber.listen()
        run = program(argv, {**plain_environment, **deployed.variables}, tmp_path)
        assert run.wait() == 0, run.log
        assert subscriber.until("workflow_event")["workflow_id"] == "my_workflow_001"
