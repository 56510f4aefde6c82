"""What all tests share."""

import os
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from django.conf import settings

from tests.system.forked import Forked
from wsproject.settings import env

ROOT: Final = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Tests choose their own settings. What the shell or a .env file says would change their results, so it is refused."""
    given = sorted(name for name in env.names if env.text(name))
    if given:
        names = ", ".join(given)
        raise pytest.UsageError(f"Tests choose their own settings: run `make test`, or set ENV_FILE= and unset {names}.")


def manage(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py` with arguments, and with variables beside those of this process."""
    command = ["manage.py", *argv]
    with TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        program = Forked(command, {**os.environ, **variables}, ROOT, output, errors)
        try:
            code = program.wait(30)
        except subprocess.TimeoutExpired:
            program.send_signal(signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(command, code, output.read_text(), errors.read_text())


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The test database is a file: one in memory cannot be used from several threads at once."""
    database = settings.DATABASES["default"]
    database.setdefault("TEST", {})["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(autouse=True)
def _nobody_has_guessed_yet() -> None:
    """Tokens are remembered by the process, wrong ones and right ones; those of one test are not another's."""
    from events.access.attempts import failures, right_tokens

    failures.cache_clear()
    right_tokens.cache_clear()
