"""`manage.py soak`: a whole system under load and faults, and the check of every client's stream."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from typing import Any

from events.management.arguments import positive
from events.management.proof import ProofCommand, Site, some_of
from events.soak.conductor import Conductor
from events.soak.plan import DEFAULT_FAULTS, FAULTS, SoakPlan
from events.soak.report import Report


class Command(ProofCommand):
    """Causes faults in a system of its own."""

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
            type=some_of(FAULTS),
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
            help=f"WS_DRAIN_S of the servers (default {plan.drain_s:g})",
        )
        parser.add_argument(
            "--client-buffer",
            type=positive(int),
            default=0,
            metavar="BYTES",
            help="unsent bytes above which a client counts as slow (default: the servers' own)",
        )
        super().add_arguments(parser)

    async def prove(self, options: Mapping[str, Any], site: Site) -> Report:
        return await Conductor(_plan(options), site.manage, site.folder, site.inherited, site.say).run()


def _plan(options: Mapping[str, Any]) -> SoakPlan:
    names = ("rate", "seconds", "clients", "polling", "servers", "relays", "workflows", "faults", "client_buffer", "seed")
    return SoakPlan(**{name: options[name] for name in names}, fault_every_s=options["fault_every"], drain_s=options["drain"])


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} is not from 0 to 1")
    return value
