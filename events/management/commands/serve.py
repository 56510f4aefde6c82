"""`manage.py serve`: the server, under daphne."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from events.checks import configuration_errors, describe
from wsproject.env import add_serve_flags


class Command(BaseCommand):
    """Serves clients until it is interrupted.

    The flags are environment variables by another name: `manage.py` has put them into the environment before the settings
    were read, so that there is one way in for every setting.
    """

    help = "Run the WebSocket server (daphne)."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # An abbreviated flag would be taken here, after the settings were read without it.
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_serve_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        problems = configuration_errors()
        if problems:
            raise CommandError(describe(problems))
        from events.server import run_server

        run_server(import_string(settings.ASGI_APPLICATION), settings.WS_HOST, settings.WS_PORT, self._announce)

    def _announce(self) -> None:
        """Say where to look. Production has its log line only."""
        if settings.PRODUCTION:
            return
        host = "localhost" if settings.WS_HOST in ("0.0.0.0", "::", "127.0.0.1") else settings.WS_HOST
        address = f"http://{host}:{settings.WS_PORT}"
        lines = [
            "",
            f"  Test client  {address}/",
            f"  Admin        {address}/admin/   (`make run` created the user admin, password admin)",
            f"  Health       {address}/health",
            f"  API docs     {address}/api/docs/",
            "",
            "  Ctrl-C ends the server.",
            "",
        ]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()
