"""`manage.py serve`: the server, under daphne."""

import asyncio
import signal
import sys
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from events.checks import configuration_errors, describe
from events.limits.pace import LONGEST
from events.server import BACKLOG, SEE_OFF_S, STOP_TIMEOUT_S, Inherited, run_server
from events.shared_port import CannotShare, shared_listeners
from events.workers import WorkerPool
from wsproject.env import add_serve_flags

#: What a worker may take to end beyond what letting its clients go and closing its connections may.
END_MARGIN_S: Final = 5.0


def _worker_command(listener: int, lifeline: int) -> list[str]:
    """The other flags are in the environment, see `adopt_serve_flags`."""
    return [sys.executable, sys.argv[0], "serve", "--listener", str(listener), "--lifeline", str(lifeline)]


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
        # What a parent hands its workers.
        parser.add_argument("--listener", type=int, help=SUPPRESS)
        parser.add_argument("--lifeline", type=int, help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        problems = configuration_errors()
        if problems:
            raise CommandError(describe(problems))
        if options["listener"] is not None:
            self._serve(lambda: None, Inherited(options["listener"], options["lifeline"]))
        elif settings.WS_WORKERS > 1:
            self._run_workers()
        else:
            self._serve(self._announce, None)

    def _serve(self, announce: Callable[[], None], inherited: Inherited | None) -> None:
        application = import_string(settings.ASGI_APPLICATION)
        # The server takes Ctrl-C where nobody else has (`manage.py`).
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_server(application, settings.WS_HOST, settings.WS_PORT, announce, inherited)

    def _run_workers(self) -> None:
        try:
            listeners = shared_listeners(settings.WS_HOST, settings.WS_PORT, settings.WS_WORKERS, BACKLOG)
        except CannotShare as error:
            raise CommandError(str(error)) from None
        pool = WorkerPool(
            listeners, _worker_command, LONGEST * settings.EVENTS.drain_s + SEE_OFF_S + STOP_TIMEOUT_S + END_MARGIN_S
        )
        asyncio.run(pool.run(self._announce))

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
