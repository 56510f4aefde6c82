"""`manage.py demo`: publish made-up workflow runs."""

import asyncio
import signal
from argparse import ArgumentParser
from collections.abc import Callable
from math import inf
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from events.conf import EventsConfig
from events.demo import DemoExecutor
from events.demo.outlets import BusOutlet, HttpOutlet, Outlet, PubSubOutlet, RefusedError
from events.demo.progress import Progress
from events.management.arguments import positive
from events.ports import Unavailable

URL: Final = "http://127.0.0.1:8001/api/events"

#: How long to wait before a receiver that went away is tried again.
RETRY_S: Final = 1.0


class Command(BaseCommand):
    """Publishes until it is interrupted, or until `--seconds` or `--runs` are over; runs that have begun are finished."""

    help = "Publish realistic workflow runs: several bots and strategies at once, failures now and then."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rate", type=positive(float), default=10.0, help="events per second on average (default 10)")
        length = parser.add_mutually_exclusive_group()
        length.add_argument("--seconds", type=positive(float), default=inf, help="start runs for so long, then end")
        length.add_argument("--runs", type=positive(int), default=inf, help="end after so many runs")
        parser.add_argument("--seed", type=int, help="the same number gives the same runs")
        parser.add_argument("--to", choices=("stream", "pubsub", "http"), help="default: stream with REDIS_URL, else http")
        parser.add_argument("--url", default=URL, help=f"where the server takes events over HTTP (default {URL})")
        parser.add_argument("--token", help="token for HTTP (default: the first of WS_AUTH_TOKEN)")

    def handle(self, *args: Any, **options: Any) -> None:
        outlet = _outlet(EventsConfig.from_settings(), options)
        progress = Progress(self.stdout.write)
        self.stdout.write(f"Publishing {options['rate']:g} events/s to {outlet.where}. Ctrl-C ends it.")
        try:
            asyncio.run(self._run(outlet, progress, options))
        except (Unavailable, RefusedError) as error:
            raise CommandError(f"{error}.") from None
        self.stdout.write(progress.totals())

    async def _run(self, outlet: Outlet, progress: Progress, options: dict[str, Any]) -> None:
        executor = DemoExecutor(options["rate"], options["seed"])
        publish = _Publisher(outlet, progress, self.stderr.write)
        demo = asyncio.create_task(executor.run(publish, runs=options["runs"], seconds=options["seconds"]))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, demo.cancel)
        try:
            await demo
        except asyncio.CancelledError:
            pass
        finally:
            await outlet.close()


class _Publisher:
    """Hands documents to an outlet. One that was never there is an error; one that went away is waited for."""

    def __init__(self, outlet: Outlet, progress: Progress, warn: Callable[[str], object]) -> None:
        self._outlet = outlet
        self._progress = progress
        self._warn = warn
        self._worked = False

    async def __call__(self, documents: list[bytes]) -> None:
        warned = False
        while True:
            try:
                await self._outlet.publish(documents)
                break
            except Unavailable as error:
                if not self._worked:
                    raise
                if not warned:
                    self._warn(f"{error}. Trying again until it is back.")
                warned = True
                await asyncio.sleep(RETRY_S)
        self._worked = True
        for document in documents:
            self._progress.note(document)


def _outlet(config: EventsConfig, options: dict[str, Any]) -> Outlet:
    to = options["to"] or ("http" if config.embedded else "stream")
    if to == "http":
        token = options["token"] or next(iter(config.auth_tokens), "")
        try:
            return HttpOutlet(options["url"], token)
        except ValueError as error:
            raise CommandError(f"--url: {error}.") from None
    if config.embedded:
        raise CommandError(f"--to {to} needs REDIS_URL; without Redis, publish to a running server with --to http.")
    return BusOutlet(config) if to == "stream" else PubSubOutlet(config)
