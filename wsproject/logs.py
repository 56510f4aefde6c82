"""Logs: one line per entry on standard error, of our own code, Django, daphne and every library alike.

In production a line is a JSON object that begins with `timestamp`, `level` and `event` and ends with `process`; in development
it is readable text with the same fields.
Code logs with `structlog.get_logger("events").info("client_connected", sid=sid)`; secrets never reach a line.
"""

import json
import logging
import logging.config
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from events.limits.rate import KeyedRate, Rate
from events.process_name import this_process

#: Fields whose values are replaced.
_SECRET_FIELDS: Final = frozenset({"token", "auth_token", "password", "secret", "secret_key", "authorization", "cookie"})

#: Secrets inside text: the password of an address, a token in a query string or a header, an access token, a signed one.
#: `_has_signs` looks for what each of them has.
_SECRET_TEXT: Final = re.compile(
    r"(?<=://)[^\s/@]*:[^\s/@]+(?=@)|(?<=[?&]token=)[^&\s\"']+|(?<=Bearer )[^\s\"']+"
    r"|\bwst_[0-9a-f]{16}_[\w-]{43}|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+"
)

#: What a terminal takes for an order or does not show, line ends and tabs apart; bidirectional controls among them.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_HIDDEN: Final = "***"

#: Entries of one name, and requests of one kind that Django refuses; on top of which the rest is counted.
NAME_RATE: Final = Rate(per_s=100, burst=1_000)


def logging_config(output: str, level: str) -> dict[str, Any]:
    """Django's `LOGGING`. `output` is `json` or `console`, `level` the lowest level that is written."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": LineFormatter,
                "foreign_pre_chain": [*_before_all(), structlog.stdlib.add_logger_name],
                "processors": _renderers(output),
            }
        },
        "filters": {"brief": {"()": BriefErrors}, "told": {"()": WithoutHealth}, "refused": {"()": RefusedRequests}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["refused"]}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django and its development server bring handlers of their own; every line goes through ours.
            "django": {"handlers": [], "propagate": True, "level": level},
            "django.request": {"filters": ["told"]},
            "django.server": {"handlers": [], "propagate": True, "level": level},
            # What these say below a warning is of use to their developers only; templates tell of each optional variable.
            "asyncio": {"level": "WARNING"},
            "django.template": {"level": "WARNING"},
            "channels_redis": {"level": "WARNING"},
            # Tells the same traceback once a second while Redis is away.
            "channels_redis.pubsub": {"filters": ["brief"]},
            "daphne": {"level": "WARNING"},
            "twisted": {"level": "WARNING"},
        },
    }


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders what structlog logged without what is done for formatters behind it: a copy of the record, and the standard
    library's own formatting of the line. There are none, and it takes a fifth of what an entry takes."""

    def format(self, record: logging.LogRecord) -> str:
        method = getattr(record, "_name", None)
        if method is None or not isinstance(record.msg, dict):
            return super().format(record)
        entry: Any = {**record.msg, "_record": record, "_from_structlog": True}
        for process in self.processors:
            entry = process(None, method, entry)
        return str(entry)


class BriefErrors(logging.Filter):
    """Turns an expected error's traceback into one line that says what failed."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            record.msg, record.args = f"{record.getMessage()} {record.exc_info[1]!r}", None
            record.exc_info = None
        return True


class WithoutHealth(logging.Filter):
    """Drops that `/health` answered 503, an error to Django: probes ask each second, and `component_unhealthy` says more."""

    def filter(self, record: logging.LogRecord) -> bool:
        path = getattr(getattr(record, "request", None), "path", "")
        return not (getattr(record, "status_code", 0) == 503 and path.startswith("/health"))


class RefusedRequests(logging.Filter):
    """Of requests that Django answers with 4xx, a line without a traceback, and not more of a kind than `NAME_RATE`: strangers
    decide how many there are. Such a request is nobody's error but the client's."""

    def __init__(self, rate: Rate = NAME_RATE, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._allowance = Allowance(rate, clock)

    def filter(self, record: logging.LogRecord) -> bool:
        if not (record.name.startswith("django.") and 400 <= getattr(record, "status_code", 0) < 500):
            return True
        left_out = self._allowance.take(record.name)
        if left_out is None:
            return False
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (left out: {left_out})", None
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        return True


class Allowance:
    """So many entries of each name may be written, and the next one tells how many were not."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._rate = KeyedRate(rate)
        self._clock = clock
        self._left_out: Counter[str] = Counter()

    def take(self, name: str) -> int | None:
        """How many of this name were left out before this entry; None when it is left out, too."""
        if self._rate.take(name, self._clock()):
            self._left_out[name] += 1
            return None
        return self._left_out.pop(name, 0)


#: One list for good: a logger keeps the one that it was first used with.
_processors: Final[list[Processor]] = []


def configure(config: dict[str, Any]) -> None:
    """Django's `LOGGING_CONFIG`: set up the standard library's logging and put structlog in front of it."""
    logging.config.dictConfig(config)
    _leave_unasked()
    _processors[:] = [
        structlog.stdlib.filter_by_level,
        Sparing(),
        structlog.stdlib.PositionalArgumentsFormatter(),
        *_before_all(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    structlog.configure(
        processors=_processors,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _leave_unasked() -> None:
    """Have the standard library not find out for each entry which line of code, thread and task it comes from: no line of
    ours says so, and it takes a sixth of what an entry takes. (Its documentation has these names, under "Optimization".)"""
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, name, False)
    logging._srcfile = None


class Sparing:
    """Leaves out entries of one name while there are too many of them: clients decide how often some things happen, and each
    line costs the event loop and the disk. The next entry of that name says in `left_out` how many there were. Warnings and
    errors are always written."""

    def __init__(self, rate: Rate = NAME_RATE, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowance = Allowance(rate, clock)

    def __call__(self, _logger: WrappedLogger, method: str, entry: EventDict) -> EventDict:
        if method not in ("debug", "info"):
            return entry
        left_out = self._allowance.take(str(entry["event"]))
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            entry["left_out"] = left_out
        return entry


def _before_all() -> list[Processor]:
    return [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, _add_timestamp]


def _renderers(output: str) -> list[Processor]:
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    first: list[Processor] = [remove_meta, structlog.processors.format_exc_info, _add_process]
    if output == "json":
        return [*first, _order, _hide_secrets, structlog.processors.JSONRenderer(_to_json)]
    return [*first, _hide_secrets, _show_controls, _console(sys.stderr.isatty())]


def _console(colors: bool) -> structlog.dev.ConsoleRenderer:
    plain_traceback = structlog.dev.plain_traceback
    if colors:
        return structlog.dev.ConsoleRenderer(colors=True, exception_formatter=plain_traceback)
    return structlog.dev.ConsoleRenderer(columns=_plain_columns(), exception_formatter=plain_traceback)


def _plain_columns() -> list[structlog.dev.Column]:
    """What structlog writes without colors. Its own way to write them takes a third of what an entry takes in all, and each
    client that connects makes some."""
    column = structlog.dev.Column
    return [
        column("", _field),
        column("timestamp", lambda _, time: str(time)),
        column("level", lambda _, level: f"[{level:<9}]"),
        column("event", lambda _, event: f"{event!s:<30}"),
        column("logger", lambda _, name: f"[{name}]"),
        column("logger_name", lambda _, name: f"[{name}]"),
    ]


#: What makes a value hard to tell from its surroundings.
_TO_QUOTE: Final = re.compile(r"[ \t=\r\n\"']")


def _field(key: str, value: object) -> str:
    return f"{key}={value}" if isinstance(value, str) and not _TO_QUOTE.search(value) else f"{key}={value!r}"


def _add_timestamp(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    entry["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return entry


def _add_process(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    entry["process"] = str(this_process)
    return entry


def _order(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    first = {name: entry.pop(name) for name in ("timestamp", "level", "event")}
    return first | dict(entry)


def _hide_secrets(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    for name, value in entry.items():
        if name.lower() in _SECRET_FIELDS:
            entry[name] = _HIDDEN
        elif isinstance(value, str) and _has_signs(value):
            entry[name] = _SECRET_TEXT.sub(_HIDDEN, value)
    return entry


def _has_signs(text: str) -> bool:
    """Whether there may be a secret in a text: takes a third of the time that the search does, and most texts have nothing."""
    return "://" in text or "token=" in text or "Bearer " in text or "wst_" in text or "eyJ" in text


def _show_controls(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """For terminals: ids and addresses are what strangers chose, and must not move the cursor or erase what stands there. JSON
    needs none of this, and structlog writes values with line ends as literals."""
    for name, value in entry.items():
        if isinstance(value, str) and not value.isprintable():
            entry[name] = _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), value)
    return entry


def _to_json(entry: Any, **_options: Any) -> str:
    try:
        return orjson.dumps(entry, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # Integers of more than 64 bits and broken Unicode; a line must never be lost to its own content.
        return json.dumps(entry, default=repr, ensure_ascii=False, separators=(",", ":")).encode(errors="replace").decode()
