"""The servers that are measured: how each is started, and how events get to it."""

import string
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.load import Load
from bench.paths import BENCH, BUILD, PEERS, ROOT
from bench.programs import Command

#: What the option is set to where it is measured: two or three events of 100/s come in so long.
INTERVAL_MS: Final = 25

NCHAN_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run happens: a folder of its own, the server's port, and a Redis of its own."""

    folder: Path
    port: int
    redis_port: int

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"


@dataclass(frozen=True, slots=True)
class Peer:
    """One server.

    feed:     how events get to it: `stream` (Redis Stream), `channel` (Redis pub/sub) or `http` (one path per topic)
    commands: what is started, in this order
    plain:    speaks bare WebSocket instead of Socket.IO
    missing:  says what is missing on this machine; empty when nothing is
    option:   what is set of this server that is not its default
    """

    name: str
    title: str
    feed: str
    commands: Callable[[Place, Load], list[Command]]
    plain: bool = False
    missing: Callable[[], str] = lambda: ""
    option: str = ""


def _ours(place: Place, load: Load, **settings: str) -> list[Command]:
    python, variables = str(ROOT / ".venv/bin/python"), {**_our_settings(place), **settings}
    serve = [python, "manage.py", "serve", "--host", "127.0.0.1", "--port", str(place.port)]
    if load.workers > 1:
        serve += ["--workers", str(load.workers)]
    return [
        Command("server", serve, variables, ROOT),
        Command("relay", [python, "manage.py", "runbus"], variables, ROOT),
    ]


def _our_settings(place: Place) -> dict[str, str]:
    """The defaults of all settings, whatever the shell and a `.env` file say; an empty value is one that is not set."""
    example = (ROOT / ".env.example").read_text().splitlines()
    names = {line.lstrip("#").partition("=")[0] for line in example if "=" in line and not line.startswith("# ")}
    return {
        **dict.fromkeys(names, ""),
        "REDIS_URL": place.redis_url,
        "DATABASE_URL": f"sqlite:///{place.folder}/database.sqlite3",
        "DEMO": "0",
    }


def _ours_interval(place: Place, load: Load) -> list[Command]:
    return _ours(place, load, WS_DELIVERY_INTERVAL_MS=str(INTERVAL_MS))


def _ours_uvicorn(place: Place, load: Load) -> list[Command]:
    python, variables = str(ROOT / ".venv/bin/python"), _our_settings(place)
    argv = [python, "-m", "uvicorn", "wsproject.asgi:application", *_uvicorn_options(place)]
    return [Command("server", argv, variables, ROOT), *_ours(place, load)[1:]]


def _uvicorn_options(place: Place) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(place.port), "--backlog", "4096"]
    fast = ["--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false"]
    return [*address, *fast, "--log-level", "warning", "--no-access-log", "--no-proxy-headers"]


def _uvicorn_missing() -> str:
    found = list((ROOT / ".venv/lib").glob("python*/site-packages/uvloop"))
    return "" if found else "uvicorn with uvloop is not installed in .venv"


def _node(place: Place, load: Load) -> list[Command]:
    argv = ["node", str(PEERS / "node.js"), str(place.port), str(place.redis_port), ",".join(load.kinds)]
    return [Command("server", argv)]


def _rooms_uvicorn(place: Place, load: Load) -> list[Command]:
    return [Command("server", [*_python("uvicorn"), "rooms:app", *_uvicorn_options(place)], _redis(place), PEERS)]


def _rooms_daphne(place: Place, load: Load) -> list[Command]:
    return [Command("server", _daphne(place, "rooms:app"), _redis(place), PEERS)]


def _groups(layer: str) -> Callable[[Place, Load], list[Command]]:
    def commands(place: Place, load: Load) -> list[Command]:
        variables = {**_redis(place), "LAYER": layer}
        return [
            Command("server", _daphne(place, "groups:application"), variables, PEERS),
            Command("relay", [sys.executable, "groups.py"], variables, PEERS),
        ]

    return commands


def _nchan(place: Place, load: Load) -> list[Command]:
    template = string.Template((PEERS / "nchan.conf.template").read_text())
    (place.folder / "nginx.conf").write_text(template.substitute(folder=place.folder, port=place.port))
    return [Command("server", ["nginx", "-p", str(place.folder), "-c", str(place.folder / "nginx.conf")])]


def _nchan_missing() -> str:
    return "" if NCHAN_MODULE.exists() else "nginx has no nchan module here (Debian: apt-get install nginx libnginx-mod-nchan)"


def _floor(place: Place, load: Load) -> list[Command]:
    return [Command("server", [str(BUILD / "floor"), str(place.port), str(place.redis_port)])]


def _node_missing() -> str:
    return "" if (BENCH / "node_modules/socket.io").is_dir() else "its packages are not installed (scripts/bench.sh does it)"


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def _daphne(place: Place, application: str) -> list[str]:
    endpoint = f"tcp:port={place.port}:interface=127.0.0.1:backlog=4096"
    return [*_python("daphne"), "-e", endpoint, "-v", "0", application]


def _redis(place: Place) -> dict[str, str]:
    return {"REDIS_PORT": str(place.redis_port)}


OURS: Final = "ours"
OURS_UVICORN: Final = "ours-uvicorn"
OURS_INTERVAL: Final = "ours-interval"
_OPTION: Final = f"WS_DELIVERY_INTERVAL_MS={INTERVAL_MS}"

PEERS_BY_NAME: Final = {
    peer.name: peer
    for peer in (
        Peer(OURS, "this server (daphne)", "stream", _ours),
        Peer(OURS_UVICORN, "this server (uvicorn, uvloop)", "stream", _ours_uvicorn, missing=_uvicorn_missing),
        Peer(OURS_INTERVAL, f"this server (daphne), {_OPTION}", "stream", _ours_interval, option=_OPTION),
        Peer("node", "Node Socket.IO 4, rooms", "channel", _node, missing=_node_missing),
        Peer("nchan", "nchan (C, bare WebSocket)", "http", _nchan, plain=True, missing=_nchan_missing),
        Peer("floor", "no server: the system calls alone (C)", "channel", _floor, plain=True),
        Peer("rooms-uvicorn", "python-socketio rooms, uvicorn", "channel", _rooms_uvicorn),
        Peer("rooms-daphne", "python-socketio rooms, daphne", "channel", _rooms_daphne),
        Peer("groups-pubsub", "stock Channels, pub/sub layer, daphne", "channel", _groups("pubsub")),
        Peer("groups-core", "stock Channels, core layer, daphne", "channel", _groups("core")),
    )
}
