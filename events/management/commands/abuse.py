"""`manage.py abuse`: honest clients next to hostile ones, and the check that they miss nothing."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any, Final

from events.management.arguments import positive
from events.management.proof import ProofCommand, Site, some_of
from events.soak.abuse import Abuse, AbusePlan
from events.soak.abuse_report import AbuseReport
from events.soak.hostile import KINDS

OPTIONS: Final[tuple[tuple[str, type[int] | type[float], str], ...]] = (
    ("clients", int, "honest clients"),
    ("sockets", int, "hostile sockets at a time"),
    ("rate", float, "events per second"),
    ("servers", int, "server processes"),
    ("quiet", float, "seconds before the attack"),
    ("hostile", float, "seconds of the attack"),
    ("after", float, "seconds after it"),
)


class Command(ProofCommand):
    """Attacks servers of its own."""

    help = (
        "Attack servers of its own on this machine, and check what honest clients get meanwhile. "
        "Exit code 0: all of it, once and in order, without a cut; 1: not so; 2: it could not be run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        plan = AbusePlan()
        for name, kind, text in OPTIONS:
            default = getattr(plan, _field(name, kind))
            parser.add_argument(f"--{name}", type=positive(kind), default=default, help=f"{text} (default {default:g})")
        parser.add_argument(
            "--kinds", type=some_of(KINDS), default=plan.kinds, help=f"some of {', '.join(KINDS)} (default: all of them)"
        )
        super().add_arguments(parser)

    async def prove(self, options: Mapping[str, Any], site: Site) -> AbuseReport:
        numbers = {_field(name, kind): options[name] for name, kind, _ in OPTIONS}
        plan = AbusePlan(seed=options["seed"], kinds=options["kinds"], **numbers)
        return await Abuse(plan, site.manage, site.folder, site.inherited, site.say).prove()


def _field(option: str, kind: type[int] | type[float]) -> str:
    """The plan's name of an option: durations carry their unit."""
    return f"{option}_s" if kind is float and option != "rate" else option
