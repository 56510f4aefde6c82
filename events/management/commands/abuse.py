"""`manage.py abuse`: honest clients next to hostile ones, and the check that they miss nothing."""

import asyncio
import signal
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events.management.arguments import positive
from events.soak.abuse import Abuse, AbusePlan
from events.soak.abuse_report import AbuseReport
from events.soak.plan import SoakFailed
from wsproject.env import inherited

NOT_CLEAN: Final = 1
COULD_NOT_RUN: Final = 2

OPTIONS: Final[tuple[tuple[str, type[int] | type[float], str], ...]] = (
    ("clients", int, "honest clients"),
    ("sockets", int, "hostile sockets at a time"),
    ("rate", float, "events per second"),
    ("servers", int, "server processes"),
    ("quiet", float, "seconds before the attack"),
    ("hostile", float, "seconds of the attack"),
    ("after", float, "seconds after it"),
)


class Command(BaseCommand):
    """Needs redis-server on the machine and nothing else; attacks servers of its own, and ends everything it uses."""

    help = (
        "Attack servers of its own on this machine, and check what honest clients get meanwhile. "
        "Exit code 0: all of it, once and in order, without a cut; 1: not so; 2: it could not be run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        plan = AbusePlan()
        for name, kind, text in OPTIONS:
            default = getattr(plan, _field(name, kind))
            parser.add_argument(f"--{name}", type=positive(kind), default=default, help=f"{text} (default {default:g})")
        parser.add_argument("--seed", type=int, default=0, help="the same number gives the same traffic (default 0)")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found to a file")

    def handle(self, *args: Any, **options: Any) -> None:
        plan = AbusePlan(seed=options["seed"], **{_field(name, kind): options[name] for name, kind, _ in OPTIONS})
        try:
            with tempfile.TemporaryDirectory(prefix="abuse-") as folder:
                report = asyncio.run(self._run(plan, Path(folder)))
                if options["json"] is not None:
                    options["json"].write_bytes(orjson.dumps(report.document(), option=orjson.OPT_INDENT_2))
        except (SoakFailed, OSError) as error:
            raise CommandError(str(error), returncode=COULD_NOT_RUN) from None
        except asyncio.CancelledError:
            raise CommandError("Interrupted; everything that was started has been ended.", returncode=COULD_NOT_RUN) from None
        self.stdout.write(f"\n{report.text()}\n")
        if not report.clean:
            raise CommandError(report.verdict(), returncode=NOT_CLEAN)
        self.stdout.write(report.verdict())

    async def _run(self, plan: AbusePlan, folder: Path) -> AbuseReport:
        abuse = Abuse(plan, settings.BASE_DIR / "manage.py", folder, inherited(), self._say)
        proof = asyncio.create_task(abuse.prove())
        for number in (signal.SIGINT, signal.SIGTERM):
            # Once: a second Ctrl-C must not interrupt the ending of what was started.
            asyncio.get_running_loop().add_signal_handler(number, lambda: proof.cancelling() or proof.cancel())
        return await proof

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _field(option: str, kind: type[int] | type[float]) -> str:
    """The plan's name of an option: durations carry their unit."""
    return f"{option}_s" if kind is float and option != "rate" else option
