"""An ASGI application in the place of the project's, for programs that tests start."""

import sys
from typing import Any

from manage import use_loop_of_servers
from wsproject.env import use_settings


def serve_instead(answer: Any) -> None:
    """As `manage.py serve` does it, on the port that the command line names, with `answer` as the application inside."""
    use_loop_of_servers()
    use_settings("wsproject.settings")
    import django
    from django.conf import settings

    django.setup()
    from events.asgi import ServerApplication
    from events.server import run_server

    class Application(ServerApplication):
        __call__ = staticmethod(answer)

    application = Application(answer, settings.EVENTS)
    run_server(application, "127.0.0.1", int(sys.argv[1]), lambda: print("listening", flush=True))
