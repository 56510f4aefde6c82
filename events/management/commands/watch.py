"""`manage.py watch`: follow events and running executions in a terminal."""

import asyncio
import os
import signal
import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from events.conf import EventsConfig
from events.watch.screens import REFRESH_S, Lines, Screen, Terminal
from workflow_events import AsyncClient, AsyncSubscription, WorkflowEventsError

URL: Final = "http://127.0.0.1:8001"


class Command(BaseCommand):
    """Follows until it is interrupted. Reconnects by itself, and misses nothing without saying so."""

    help = "Follow events and running executions in the terminal; in a pipe, one line per event."

    def add_arguments(self, parser: ArgumentParser) -> None:
        for kind in ("workflow", "bot", "strategy"):
            parser.add_argument(f"--{kind}", action="append", metavar="ID", help=f"events of this {kind}; may be repeated")
        parser.add_argument("--all", action="store_true", help="every event (the default when nothing is named)")
        parser.add_argument("--types", help="only events of these types, separated by commas")
        parser.add_argument("--url", default=URL, help=f"the server (default {URL})")
        parser.add_argument("--token", help="token, if the server wants one (default: the first of WS_AUTH_TOKEN)")
        parser.add_argument("--json", action="store_true", help="each event as a line of JSON, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            subscription = _subscribe(options)
        except ValueError as error:
            raise CommandError(str(error)) from None
        try:
            asyncio.run(_follow(subscription, _screen(options)))
        except WorkflowEventsError as error:
            raise CommandError(str(error)) from None
        except BrokenPipeError:
            # Whoever reads has had enough. What Python still wants to write at its end goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _subscribe(options: dict[str, Any]) -> AsyncSubscription:
    token = options["token"] or next(iter(EventsConfig.from_settings().auth_tokens), None)
    workflow, bot, strategy = options["workflow"], options["bot"], options["strategy"]
    everything = options["all"] or not (workflow or bot or strategy)
    types = [name.strip() for name in options["types"].split(",") if name.strip()] if options["types"] else None
    client = AsyncClient(options["url"], token=token)
    return client.subscribe(workflow=workflow, bot=bot, strategy=strategy, everything=everything, types=types, snapshot=True)


def _screen(options: dict[str, Any]) -> Screen:
    if options["json"] or not sys.stdout.isatty():
        return Lines(sys.stdout, sys.stderr, as_json=options["json"])
    named = [f"{kind}:{value}" for kind in ("workflow", "bot", "strategy") for value in options[kind] or ()]
    return Terminal(Console(), options["url"], " ".join(named) or "everything")


async def _follow(subscription: AsyncSubscription, screen: Screen) -> None:
    """Returns when it is interrupted."""
    following = asyncio.create_task(_show(subscription, screen))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, following.cancel)
    with screen:
        try:
            while not following.done():
                await asyncio.wait([following], timeout=REFRESH_S)
                screen.tick()
            await following
        except asyncio.CancelledError:
            pass


async def _show(subscription: AsyncSubscription, screen: Screen) -> None:
    async with subscription:
        async for item in subscription.items():
            screen.show(item)
