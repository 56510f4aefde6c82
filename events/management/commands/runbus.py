"""`manage.py runbus`: the relay from the event bus to the server processes."""

import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from events.allocator import keep_free_memory
from events.bridge import ask
from events.checks import configuration_errors, describe
from events.collector import settle
from events.conf import EventsConfig
from events.fanout.relay import LostLease
from events.ports import FencedOut, Unavailable
from events.wiring import Adapters, RelayProcess, ServerProcess


class Command(BaseCommand):
    """Runs until it is interrupted. Start a second one as a standby: it takes over within seconds."""

    help = "Relay events from the bus to the server processes. One leads at a time; further ones stand by."

    def add_arguments(self, parser: ArgumentParser) -> None:
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--check", action="store_true", help="say whether a relay leads; exit code 1 when none does")
        mode.add_argument("--burst", action="store_true", help="relay what is on the bus now, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        config = EventsConfig.from_settings()
        if config.embedded:
            raise CommandError(
                "REDIS_URL is not set: the embedded server relays its own events. Set REDIS_URL to run a bus of its own."
            )
        problems = configuration_errors()
        if problems:
            raise CommandError(describe(problems))
        if options["check"]:
            self._check()
        else:
            # From here on it ends properly (`manage.py`).
            signal.signal(signal.SIGINT, signal.default_int_handler)
            keep_free_memory()
            asyncio.run(self._run(config, burst=options["burst"]))

    def _check(self) -> None:
        async def holder(adapters: Adapters, process: ServerProcess | None) -> str | None:
            return await adapters.lease.holder()

        try:
            leader = ask(holder)
        except Unavailable as error:
            raise CommandError(str(error)) from None
        if leader is None:
            raise CommandError("No relay leads. Start one: python manage.py runbus")
        self.stdout.write(f"{leader} leads.")

    async def _run(self, config: EventsConfig, *, burst: bool) -> None:
        process = RelayProcess(config)
        if burst:
            await self._burst(process)
            return
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        process.start()
        settle()
        await ended.wait()
        await process.stop()

    async def _burst(self, process: RelayProcess) -> None:
        try:
            await process.relay.run_burst()
        except* (LostLease, FencedOut):
            raise CommandError("Another relay took over; it relays what is left.") from None
        finally:
            await process.stop()
        counted = process.relay.counters
        self.stdout.write(f"{counted.received} events relayed, {counted.rejected} rejected.")
