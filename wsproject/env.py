"""The environment: the one file that reads and writes `os.environ`, by typed helpers that refuse nonsense.

A setting comes from the process environment or, where it is not named there, from the file `.env` in the project root
(`ENV_FILE` names another one; set but empty, there is none). An empty value counts as not set.
"""

import io
import math
import os
import re
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import environ

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


class BadSetting(Exception):
    """A variable with a value that cannot be used. The message is one line: the variable, the value unless it is secret,
    and the mend."""


class Environment:
    """Typed access to the settings variables. `names` collects every variable that was asked for.

    All readers raise `BadSetting`, and take a value that is not set or empty as "use the default".
    """

    def __init__(self, *layers: Mapping[str, str]) -> None:
        """`layers` are searched in order; the first that names a variable decides."""
        self._layers = layers
        self.names: set[str] = set()

    def text(self, name: str, default: str = "") -> str:
        self.names.add(name)
        for layer in self._layers:
            if name in layer:
                return layer[name].strip() or default
        return default

    def secret(self, name: str, default: str = "") -> str:
        """The variable, or what stands in the file that `<name>_FILE` names. The value is never part of a message."""
        self.names |= {name, f"{name}_FILE"}
        for layer in self._layers:
            if value := layer.get(name, "").strip():
                return value
            if path := layer.get(f"{name}_FILE", "").strip():
                return _secret_file(name, path)
            if name in layer:
                break
        return default

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name).lower()
        if value and value not in _TRUE | _FALSE:
            raise BadSetting(f"{name} is {value!r}: write true or false (1, yes, on or 0, no, off are understood too).")
        return value in _TRUE if value else default

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        value = self.text(name)
        if not value:
            return default
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not minimum <= int(value) <= maximum:
            raise BadSetting(f"{name} is {value!r}: write a whole number from {minimum} to {maximum}.")
        return int(value)

    def number(self, name: str, default: float, minimum: float, maximum: float) -> float:
        value = self.text(name)
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not minimum <= number <= maximum:
            raise BadSetting(f"{name} is {value!r}: write a number from {minimum:g} to {maximum:g}.")
        return number

    def choice(self, name: str, default: str, choices: Sequence[str]) -> str:
        value = self.text(name, default)
        found = [choice for choice in choices if choice.lower() == value.lower()]
        if not found:
            raise BadSetting(f"{name} is {value!r}: write {' or '.join(choices)}.")
        return found[0]

    def items(self, name: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A comma-separated list without its empty items and repetitions, in order."""
        return tuple(dict.fromkeys(split_items(self.text(name)))) or tuple(default)

    def choices(self, name: str, default: Sequence[str], choices: Sequence[str]) -> tuple[str, ...]:
        """A comma-separated list of one or more of `choices`."""
        items = self.items(name, default)
        if unknown := [item for item in items if item not in choices]:
            raise BadSetting(f"{name} has {unknown[0]!r}: write one or more of {', '.join(choices)}, separated by commas.")
        return items

    def word(self, name: str, default: str) -> str:
        """A name that may become part of a Redis key: letters, digits, `_`, `-`, `.` and `:`, at most 64 of them."""
        value = self.text(name, default)
        if len(value) > 64 or not all(char.isascii() and (char.isalnum() or char in "_-.:") for char in value):
            raise BadSetting(f"{name} is {value!r}: write at most 64 letters, digits, '_', '-', '.' or ':'.")
        return value

    def origins(self, name: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A comma-separated list of web origins such as `https://dash.example.com`, or `*`."""
        items = self.items(name, default)
        for item in items:
            if item != "*" and not _is_origin(item):
                raise BadSetting(f"{name} has {item!r}: write origins such as https://dash.example.com, separated by commas.")
        return tuple(dict.fromkeys(_as_browsers_write(item) for item in items))

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        """A comma-separated list of addresses and networks such as `10.0.0.0/8`."""
        items = self.items(name)
        try:
            return tuple(ip_network(item, strict=False) for item in items)
        except ValueError as error:
            raise BadSetting(
                f"{name} is not usable: {error}. Write addresses or networks such as 10.0.0.0/8, separated by commas."
            ) from None

    def web_address(self, name: str) -> str:
        """An address such as `http://collector:4318`, or empty."""
        value = self.text(name)
        if value and not _is_web_address(value):
            raise BadSetting(f"{name} is {value!r}: write an address such as http://collector:4318.")
        return value

    def redis_url(self, name: str) -> str:
        """A Redis address, or empty. It may carry a password, so no message repeats it."""
        value = self.secret(name)
        if value and not _is_redis_url(value):
            raise BadSetting(f"{name} is not a Redis address: write redis://host:6379/0 (rediss:// for TLS).")
        return value

    def database(self, name: str, default: Path) -> dict[str, Any]:
        """A database address as Django's settings want it; by default the SQLite file `default`."""
        value = self.secret(name)
        if not value:
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": default}
        config = environ.Env.db_url_config(value) if _is_database_url(value) else {}
        if not config.get("NAME"):
            raise BadSetting(f"{name} is not a database address: write sqlite:////folder/file or postgres://user@host/name.")
        return dict(config)

    def unknown(self, prefix: str) -> dict[str, str]:
        """Variables that begin with `prefix` and that nothing asked for; each with the most similar known name, or ''."""
        given = {name for layer in self._layers for name in layer if name.startswith(prefix)}
        return {name: next(iter(get_close_matches(name, self.names, n=1)), "") for name in sorted(given - self.names)}


def load(root: Path) -> Environment:
    """The environment of this process, completed by the `.env` file of the project in `root`."""
    env_file = os.environ.get("ENV_FILE", ".env").strip()
    environment = Environment(os.environ, _read_env_file(root / env_file, "ENV_FILE" in os.environ) if env_file else {})
    environment.names.add("ENV_FILE")
    return environment


def inherited() -> dict[str, str]:
    """What a process that is started with settings of its own needs of this one's environment."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV") if name in os.environ}


def use_settings(module: str) -> None:
    """Make `module` Django's settings unless the environment names others."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", module)


def add_serve_flags(parser: ArgumentParser) -> None:
    """The flags of `manage.py serve`. Each is a variable by another name, see `adopt_serve_flags`."""
    parser.add_argument("--env", metavar="NAME", help="development or production (ENV)")
    parser.add_argument("--host", metavar="ADDRESS", help="the address to listen on (WS_HOST)")
    parser.add_argument("--port", metavar="NUMBER", help="the port to listen on (WS_PORT)")
    parser.add_argument("--workers", metavar="NUMBER", help="server processes that share the port (WS_WORKERS)")
    parser.add_argument(
        "--auth-token",
        metavar="TOKEN",
        help="the token that clients authenticate with (WS_AUTH_TOKEN); the list of processes shows it",
    )
    parser.add_argument("--require-auth", action="store_true", help="clients must authenticate to subscribe (WS_REQUIRE_AUTH)")


def adopt_serve_flags(argv: Sequence[str]) -> None:
    """Put the flags of `manage.py serve` into the environment. To be called before Django reads its settings."""
    if argv[1:2] != ["serve"]:
        return
    parser = ArgumentParser(prog="manage.py serve", add_help=False, allow_abbrev=False)
    add_serve_flags(parser)
    flags, _ = parser.parse_known_args(list(argv[2:]))
    given = {
        "ENV": flags.env,
        "WS_HOST": flags.host,
        "WS_PORT": flags.port,
        "WS_WORKERS": flags.workers,
        "WS_AUTH_TOKEN": flags.auth_token,
        "WS_REQUIRE_AUTH": "true" if flags.require_auth else None,
    }
    os.environ.update({name: value for name, value in given.items() if value is not None})


def split_items(text: str) -> list[str]:
    """The items of a comma-separated list, without spaces around them and without empty ones."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _read_env_file(path: Path, named: bool) -> dict[str, str]:
    """The variables in a `.env` file. Without the file there are none, unless it was `named`: then it must be there."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if not named:
            return {}
        raise BadSetting(f"ENV_FILE is '{path}': there is no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"The settings file {path} cannot be read: {_reason(error)}.") from None

    class EnvFile(environ.Env):
        ENVIRON: dict[str, str] = {}

    EnvFile.read_env(io.StringIO(text))
    return EnvFile.ENVIRON


def _secret_file(name: str, path: str) -> str:
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{name}_FILE is '{path}', which cannot be read: {_reason(error)}.") from None
    if not value:
        raise BadSetting(f"{name}_FILE is '{path}', which is empty: write the value into it.")
    return value


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.scheme in {"http", "https"} and parts.hostname and text == f"{parts.scheme}://{parts.netloc}")
    except ValueError:
        return False


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _as_browsers_write(origin: str) -> str:
    """An origin as it stands in a browser's header: small letters, and no port that is the scheme's own."""
    origin = origin.lower()
    port = ":443" if origin.startswith("https:") else ":80"
    return origin.removesuffix(port)


def _is_database_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        if parts.scheme == "sqlite":
            return not parts.netloc
        return parts.scheme in {"postgres", "postgresql"} and parts.port != 0
    except ValueError:
        return False


def _is_redis_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        if parts.scheme == "unix":
            return bool(parts.path)
        return parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
