#!/usr/bin/env python
"""Runs the project's commands; `manage.py help` lists them."""

import asyncio
import gc
import select
import signal
import sys

from events.collector import search_rarely
from wsproject.env import BadSetting, adopt_serve_flags, use_settings

#: What shells have for a command that was ended by SIGINT.
INTERRUPTED = 130


#: Commands that take signals in their own way once they run. Until then Ctrl-C ends them there and then: as an exception, it
#: can come up in the middle of any import, also of one that takes it for something else.
SIGNALLED = ("serve", "runbus")


def use_loop_of_servers() -> None:
    """daphne makes its event loop when it is imported, so this comes first. Systems without epoll have asyncio's own."""
    if hasattr(select, "epoll"):
        from events.clients_last import ClientsLastLoop

        class ClientsLastPolicy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self) -> asyncio.AbstractEventLoop:
                return ClientsLastLoop()

        asyncio.set_event_loop_policy(ClientsLastPolicy())


def main() -> None:
    # Loading allocates a great deal and leaves no garbage: searching for it took up to a third of a short command's time.
    search_rarely()
    if sys.argv[1:2] and sys.argv[1] in SIGNALLED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["serve"]:
        use_loop_of_servers()
    adopt_serve_flags(sys.argv)
    use_settings("wsproject.settings")
    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except BadSetting as error:
        sys.exit(f"manage.py: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        # The process ends: what it still holds need not be searched.
        gc.freeze()


if __name__ == "__main__":
    main()
