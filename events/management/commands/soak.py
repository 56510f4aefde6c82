"""`manage.py soak`: a whole system under load and faults, and the check of every client's stream."""

import asyncio
import signal
import tempfile
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from events.management.arguments import positive
from events.soak.conductor import Conductor
from events.soak.plan import DEFAULT_FAULTS, FAULTS, SoakFailed, SoakPlan
from events.soak.report import Report
from wsproject.env import inherited

NOT_CLEAN: Final = 1
COULD_NOT_RUN: Final = 2


class Command(BaseCommand):
    """Needs redis-server on the machine and nothing else; starts, and ends, everything it uses."""

    help = (
        "Publish numbered runs to a system of its own, cause faults, and check what each client got. "
        "Exit code 0: all of it, once and in order; 1: not so; 2: the soak could not be run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        plan = SoakPlan()
        parser.add_argument(
            "--rate", type=positive(float), default=plan.rate, help=f"events per second (default {plan.rate:g})"
        )
        parser.add_argument(
            "--seconds", type=positive(float), default=plan.seconds, help=f"how long to publish (default {plan.seconds:g})"
        )
        for name, text in (
            ("clients", "clients"),
            ("servers", "server processes"),
            ("relays", "relay processes, one of which leads"),
            ("workflows", "workflows that the events are spread over"),
        ):
            default = getattr(plan, name)
            parser.add_argument(f"--{name}", type=positive(int), default=default, help=f"{text} (default {default})")
        parser.add_argument(
            "--polling",
            type=_share,
            default=plan.polling,
            help=f"share of the clients on long-polling (default {plan.polling:g})",
        )
        faults = parser.add_mutually_exclusive_group()
        faults.add_argument(
            "--faults",
            type=_faults,
            default=DEFAULT_FAULTS,
            help=f"some of {', '.join(FAULTS)} (default: {', '.join(DEFAULT_FAULTS)})",
        )
        faults.add_argument("--no-faults", action="store_const", const=(), dest="faults", help="load only")
        parser.add_argument(
            "--fault-every",
            type=positive(float),
            default=plan.fault_every_s,
            metavar="SECONDS",
            help=f"seconds between two faults (default {plan.fault_every_s:g})",
        )
        parser.add_argument(
            "--drain",
            type=positive(float),
            default=plan.drain_s,
            metavar="SECONDS",
            help=f"over how long a server that ends spreads its clients (default {plan.drain_s:g})",
        )
        parser.add_argument(
            "--client-buffer",
            type=positive(int),
            default=0,
            metavar="BYTES",
            help="unsent bytes above which a client counts as slow (default: the servers' own)",
        )
        parser.add_argument("--seed", type=int, default=0, help="the same number gives the same traffic and faults (default 0)")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found to a file")
        parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep data and output of all processes here")

    def handle(self, *args: Any, **options: Any) -> None:
        plan = _plan(options)
        try:
            with ExitStack() as stack:
                report = asyncio.run(self._run(plan, _folder(options["keep"], stack)))
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

    async def _run(self, plan: SoakPlan, folder: Path) -> Report:
        conductor = Conductor(plan, settings.BASE_DIR / "manage.py", folder, inherited(), self._say)
        soak = asyncio.create_task(conductor.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            # Once: a second Ctrl-C must not interrupt the ending of what was started.
            asyncio.get_running_loop().add_signal_handler(number, lambda: soak.cancelling() or soak.cancel())
        return await soak

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _plan(options: dict[str, Any]) -> SoakPlan:
    names = ("rate", "seconds", "clients", "polling", "servers", "relays", "workflows", "faults", "client_buffer", "seed")
    return SoakPlan(**{name: options[name] for name in names}, fault_every_s=options["fault_every"], drain_s=options["drain"])


def _folder(keep: Path | None, stack: ExitStack) -> Path:
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise CommandError(
            f"--keep: {keep} is not empty. The data of an earlier soak would become part of this one.", returncode=COULD_NOT_RUN
        )
    return keep.resolve()


def _faults(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FAULTS]
    if unknown or not names:
        raise ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is not among {', '.join(FAULTS)}")
    return names


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} is not from 0 to 1")
    return value
