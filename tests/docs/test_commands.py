"""Every command of the documentation is run here, or stands in `NOT_RUN` with the reason."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.docs.conftest import TOKEN, Place
from tests.docs.pages import PAGES, Command, commands, languages
from tests.redis_server import free_port
from tests.system.stack import DEADLINE_S, await_condition, request, started

#: Ends by itself with exit code 0.
ENDS: Final = (
    r"make install",
    r"openssl rand -hex 32",
    r"cp \.env\.example \.env",
    r"curl '?http://localhost:8001/(health|metrics|metrics\?format=prometheus'|status|api/emergency|api/executions\?.*')",
    r"redis-cli XREVRANGE .*",
    r"python manage\.py (check|bootstrap|runbus --check|emergency.*)",
)

#: As `ENDS`, and an event reaches a subscriber.
PUBLISHES: Final = (
    r"curl -X POST .*",
    r"redis-cli (XADD|PUBLISH) .*",
    r"python examples/publish_event\.py .*",
    r"python manage\.py demo .*",
)

#: Serves until it is interrupted.
SERVES: Final = (r"make run", r"python manage\.py serve.*", r"uvicorn wsproject\.asgi:application .*")

#: Works until it is interrupted, and says so in its log.
WORKS: Final = (r"python manage\.py runbus",)

NOT_RUN: Final = {
    r"make test": "is what runs this",
    r"PYTEST_ARGS='.*' make test": "the same",
    r"make check": "part of `make test`, which runs it beside this",
    r"make bench.*": "needs a quiet machine and minutes; tests/bench runs its parts",
    r"python manage\.py soak --clients 1000 .*": "takes minutes; tests/system/test_soak.py runs a small one",
    r"python manage\.py token .*": "needs a database with the tokens; tests/access runs each",
    r"pip install \./clients/python": "tests/python_client/test_package.py installs it into a fresh environment",
    r"echo .* \| websocat .*": "tests/examples/test_python_examples.py does, with an event that comes then",
    r"python -m tests\.browser\.measure_page": "takes a minute of a quiet machine, and checks nothing",
    r"pip install --require-hashes -r requirements-uvicorn\.txt": "would change what runs this, which has it all",
    r"docker compose .*": "needs a docker daemon; tests/test_shipping.py looks at the image's steps and at the compose file",
}

ALL: Final = [command for page in PAGES for command in commands(page)]


def matching(*patterns: str) -> list[Command]:
    return [command for command in ALL if any(re.fullmatch(pattern, command.text, re.DOTALL) for pattern in patterns)]


def distinct(*patterns: str) -> list[Command]:
    """As `matching`; of commands that stand in several places with the same variables, the first."""
    found: dict[tuple[str, frozenset[str]], Command] = {}
    for command in matching(*patterns):
        found.setdefault((command.text, frozenset(command.exports.splitlines())), command)
    return list(found.values())


def test_nothing_hides_in_a_block_that_nobody_reads() -> None:
    """Commands stand in `bash` blocks; the other languages have tests of their own, and `text` is for pictures."""
    known = {"bash", "javascript", "python", "json", "tsx", "text"}
    assert {page.name: languages(page) - known for page in PAGES if languages(page) - known} == {}


def test_every_command_is_run_or_excused() -> None:
    known = matching(*ENDS, *PUBLISHES, *SERVES, *WORKS, *NOT_RUN)
    assert [str(command) for command in ALL if command not in known] == []


def test_nothing_is_excused_that_is_not_there() -> None:
    for patterns in (ENDS, PUBLISHES, SERVES, WORKS, NOT_RUN):
        for pattern in patterns:
            assert matching(pattern), pattern


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """The place where a command makes sense."""
    command: Command = request.getfixturevalue("command")
    text = command.exports + command.text
    if "redis" in text or "emergency" in text:
        return request.getfixturevalue("deployed")  # type: ignore[no-any-return]
    return request.getfixturevalue("secured" if TOKEN in text else "embedded")  # type: ignore[no-any-return]


def script(command: Command, place: Place) -> str:
    text = place.localize(f"{command.exports}exec {command.text}")
    if " demo " in text:
        text += f" --url {place.server.url}/api/events"
    return text


def run(command: Command, place: Place, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-euc", script(command, place)],
        cwd=folder,
        env={**environment, **place.variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", distinct(*ENDS), ids=str)
def test_a_command_ends_well(command: Command, place: Place, checkout: Path, plain_environment: dict[str, str]) -> None:
    run(command, place, checkout, plain_environment)


@pytest.mark.parametrize("command", distinct(*PUBLISHES), ids=str)
def test_a_command_publishes(command: Command, place: Place, checkout: Path, plain_environment: dict[str, str]) -> None:
    with place.subscriber() as subscriber:
        subscriber.listen()
        run(command, place, checkout, plain_environment)
        assert subscriber.until("workflow_event")["event_id"]


@pytest.mark.parametrize("command", distinct(*SERVES), ids=str)
def test_a_command_serves(command: Command, place: Place, checkout: Path, plain_environment: dict[str, str]) -> None:
    port = free_port()
    text = re.sub(r"--port \d+", f"--port {port}", script(command, place))
    environment = {**plain_environment, "WS_PORT": str(port), "WS_REDIS_PREFIX": place.variables.get("WS_REDIS_PREFIX", "")}
    with interrupted(text, checkout, environment) as log:
        health = f"http://127.0.0.1:{port}/health"
        await_condition(lambda: request(health)[0] == 200, lambda: f"{request(health)}\n{log.read_text()}")


@pytest.mark.parametrize("command", distinct(r"uvicorn .*"), ids=str)
def test_uvicorn_believes_nothing_that_a_client_says_of_its_address(
    command: Command, place: Place, checkout: Path, plain_environment: dict[str, str]
) -> None:
    port = free_port()
    text = re.sub(r"--port \d+", f"--port {port}", script(command, place))
    environment = {**plain_environment, "ALLOWED_HOSTS": "ws.example.com"}
    told = {"Host": "elsewhere.example.com", "X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7"}
    with interrupted(text, checkout, environment) as log:
        await_condition(lambda: request(f"http://127.0.0.1:{port}/health")[0] == 200, log.read_text)
        assert request(f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling", headers=told)[0] == 400
        await_condition(lambda: "handshake_refused" in log.read_text(), log.read_text)
        assert "address=127.0.0.1" in log.read_text()


@pytest.mark.parametrize("command", distinct(*WORKS), ids=str)
def test_a_command_works(command: Command, place: Place, checkout: Path, plain_environment: dict[str, str]) -> None:
    with interrupted(script(command, place), checkout, {**plain_environment, **place.variables}) as log:
        await_condition(lambda: "relay_standby" in log.read_text(), log.read_text)


class interrupted:  # noqa: N801 - reads as what it is: `with interrupted(...)`
    """Runs a script, and ends it as Ctrl-C in a terminal would: the whole group of its processes gets the signal."""

    def __init__(self, text: str, folder: Path, environment: dict[str, str]) -> None:
        self._log = folder / "command.log"
        self._process = started(["sh", "-euc", text], environment, self._log, folder)

    def __enter__(self) -> Path:
        return self._log

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        assert "Traceback" not in self._log.read_text()
