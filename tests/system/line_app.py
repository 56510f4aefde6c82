"""`python -m tests.system.line_app PORT`: a server on the event loop of servers that answers each request with what it is to
that loop: `client`, or `delivery`. A request with `refuse` in its address is answered with 400."""

import sys
from typing import Any

from events.clients_last import CLIENT
from manage import use_loop_of_servers
from wsproject.env import use_settings


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    body = b"client" if CLIENT.get() else b"delivery"
    status = 400 if b"refuse" in scope["query_string"] else 200
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(port: str) -> None:
    """As `manage.py serve` does it, with another application inside."""
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
    run_server(application, "127.0.0.1", int(port), lambda: print("listening", flush=True))


if __name__ == "__main__":
    main(sys.argv[1])
