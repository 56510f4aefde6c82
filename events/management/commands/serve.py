"""`manage.py serve`: the server, under daphne."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from events.checks import configuration_errors, describe
from wsproject.env import add_serve_flags


class Command(BaseCommand):
    """Serves clients until it is interrupted.

    The flags are environment variables by another name: `manage.py` has put them into the environment before the settings
    were read, so that there is one way in for every setting.
    """

    help = "Run the WebSocket server (daphne)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_serve_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        problems = configuration_errors()
        if problems:
            raise CommandError(describe(problems))
        from events.server import run_server

        run_server(import_string(settings.ASGI_APPLICATION), settings.WS_HOST, settings.WS_PORT)
