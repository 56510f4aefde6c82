"""`python -m tests.system.holding_app PORT`: a server that goes on with requests for `/hold` when their clients are gone, until
there is one for `/release`. Each answer says how many of those clients have gone."""

import asyncio
import sys
from typing import Any

from manage import use_loop_of_servers
from wsproject.env import use_settings

_released = asyncio.Event()
_gone = 0


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    global _gone
    if scope["path"] == "/hold":
        while (await receive())["type"] != "http.disconnect":
            continue
        _gone += 1
        await _released.wait()
    if scope["path"] == "/release":
        _released.set()
    body = str(_gone).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
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
