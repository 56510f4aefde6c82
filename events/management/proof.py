"""What `soak` and `abuse` share: a command that runs a whole system of its own, and says what it found."""

import asyncio
import signal
import tempfile
from abc import ABC, abstractmethod
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events.soak.plan import SoakFailed
from wsproject.env import inherited

NOT_CLEAN: Final = 1
COULD_NOT_RUN: Final = 2


class Findings(Protocol):
    """What such a run found."""

    @property
    def clean(self) -> bool:
        """Whether it is as it has to be."""

    def verdict(self) -> str:
        """One sentence."""

    def text(self) -> str:
        """Tables."""

    def document(self) -> dict[str, Any]:
        """Everything, as JSON-like data."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run takes place.

    manage:    the project's `manage.py`
    folder:    for the data and the output of all processes
    inherited: the environment, less this project's variables
    say:       tells how far it is
    """

    manage: Path
    folder: Path
    inherited: Mapping[str, str]
    say: Callable[[str], object]


class ProofCommand(BaseCommand, ABC):
    """Needs redis-server on the machine and nothing else; starts, and ends, everything it uses, also when it is interrupted."""

    @abstractmethod
    def prove(self, options: Mapping[str, Any], site: Site) -> Coroutine[Any, Any, Findings]:
        """The run itself. It raises `SoakFailed` when it cannot be brought to its end."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=0, help="the same number makes the same run (default 0)")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found to a file")
        parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep data and output of all processes here")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with ExitStack() as stack:
                site = Site(settings.BASE_DIR / "manage.py", _folder(options["keep"], stack), inherited(), self._say)
                findings = asyncio.run(_until_interrupted(self.prove(options, site)))
                if options["json"] is not None:
                    options["json"].write_bytes(orjson.dumps(findings.document(), option=orjson.OPT_INDENT_2))
        except (SoakFailed, OSError) as error:
            raise CommandError(str(error), returncode=COULD_NOT_RUN) from None
        except asyncio.CancelledError:
            raise CommandError("Interrupted; everything that was started has been ended.", returncode=COULD_NOT_RUN) from None
        self.stdout.write(f"\n{findings.text()}\n")
        if not findings.clean:
            raise CommandError(findings.verdict(), returncode=NOT_CLEAN)
        self.stdout.write(findings.verdict())

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


async def _until_interrupted(proof: Coroutine[Any, Any, Findings]) -> Findings:
    task = asyncio.create_task(proof)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Once: a second Ctrl-C must not interrupt the ending of what was started.
        asyncio.get_running_loop().add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    return await task


def _folder(keep: Path | None, stack: ExitStack) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proof-")))
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise CommandError(
            f"--keep: {keep} is not empty. The data of an earlier run would become part of this one.", returncode=COULD_NOT_RUN
        )
    return keep.resolve()


def some_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """For `add_argument(type=…)`: names of a fixed set, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is not among {', '.join(known)}")
        return names

    return parse
