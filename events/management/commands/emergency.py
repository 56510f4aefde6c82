"""`manage.py emergency`: shows or sets the platform's emergency state."""

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from events.conf import EventsConfig
from events.domain.timestamps import iso
from events.emergency import EMERGENCY_STATES, Emergency, InvalidEmergency, Unavailable, emergency, set_emergency
from events.terminal import clean


class Command(BaseCommand):
    """Clients of all server processes are told within two seconds."""

    help = "Show the emergency state, or set it: emergency halt --reason 'exchange maintenance'; emergency normal"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("state", nargs="?", choices=EMERGENCY_STATES, help="the state to set; without it, it is shown")
        parser.add_argument("--reason", default="", help="why; clients are shown this")

    def handle(self, *args: Any, **options: Any) -> None:
        if EventsConfig.from_settings().embedded:
            raise CommandError(
                "REDIS_URL is not set: the state lives in the embedded server. Set it with POST /api/emergency or in the admin."
            )
        try:
            if options["state"] is None:
                current = emergency()
            else:
                current = set_emergency(options["state"], options["reason"], by=f"{getpass.getuser()} (manage.py)")
        except (InvalidEmergency, Unavailable) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(_line(current))


def _line(current: Emergency) -> str:
    since = f" since {iso(current.at)}" if current.at else ""
    return f"{current.state}{since}{f': {clean(current.reason)}' if current.reason else ''}"
