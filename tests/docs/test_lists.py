"""Lists in the documentation against the code: error codes, log entries, commands, reasons, the version."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from events.commands import _COMMANDS
from events.domain.errors import ALL_KINDS
from tests.conftest import ROOT
from tests.docs.pages import GUIDE, read
from wsproject import VERSION

OPERATIONS: Final = ROOT / "docs" / "operations.md"

SOURCES: Final = [path for folder in ("events", "monitoring", "wsproject") for path in (ROOT / folder).rglob("*.py")]

Entry = tuple[str, str, frozenset[str]]


def logged() -> Iterator[Entry]:
    """Event, level and fields of each log entry in the code."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "log":
                level = node.func.attr
                fields = {"traceback" if keyword.arg == "exc_info" else keyword.arg or "" for keyword in node.keywords}
                if level == "exception":
                    level, fields = "error", fields | {"traceback"}
                names = [found.value for found in ast.walk(node.args[0]) if isinstance(found, ast.Constant)]
                yield from ((str(name), level, frozenset(fields)) for name in names)


def documented() -> Iterator[Entry]:
    rows = re.findall(r"^\| `(\w+)` \| (debug|info|warning|error) \| (.*?) \| .*\|$", read(OPERATIONS), re.MULTILINE)
    for name, level, fields in rows:
        yield name, level, frozenset(field.strip("` ") for field in fields.split(","))


def test_every_log_entry_is_documented_as_it_is() -> None:
    assert sorted(set(logged()), key=str) == sorted(set(documented()), key=str)


def test_no_log_entry_is_documented_twice() -> None:
    names = [name for name, *_ in documented()]
    assert len(names) == len(set(names))


def test_every_error_code_is_in_the_guide_with_its_advice() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (yes|no)\b[^|]*\|$", read(GUIDE), re.MULTILINE)
    assert rows == [(kind.code, "yes" if kind.retry else "no") for kind in ALL_KINDS]


def test_every_command_of_clients_is_in_the_guide() -> None:
    named = set(re.findall(r"\*\*`(\w+)`\*\*", read(GUIDE)))
    assert set(_COMMANDS) <= named


def test_every_reason_for_missed_events_is_in_the_guide() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "events" / "fanout").glob("*.py"))
    used = set(re.findall(r'missed\(.*"(\w+)"\)', source))
    listed = set(re.findall(r"^\| `((?:history|client)_\w+)` \| [^|]+ \|$", read(GUIDE), re.MULTILINE))
    assert used == listed


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == VERSION
