"""Lists in the documentation against the code: error codes, log entries, commands, reasons, the version."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from events.commands import _COMMANDS
from events.domain.errors import ALL_KINDS
from events.redis_link import _REASONS
from tests.conftest import ROOT
from tests.docs.pages import GUIDE, read
from wsproject import VERSION

OPERATIONS: Final = ROOT / "docs" / "operations.md"

SOURCES: Final = [path for folder in ("events", "monitoring", "wsproject") for path in (ROOT / folder).rglob("*.py")]

#: Calls whose last argument is a reason.
_TELLS: Final = ("Unavailable", "found.append", "Component")

Entry = tuple[str, str, frozenset[str]]


def logged() -> Iterator[Entry]:
    """Event, level and fields of each log entry in the code."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_name(node.func.value, "log"):
                level = node.func.attr
                fields = {"traceback" if keyword.arg == "exc_info" else keyword.arg or "" for keyword in node.keywords}
                if level == "exception":
                    level, fields = "error", fields | {"traceback"}
                names = [found.value for found in ast.walk(node.args[0]) if isinstance(found, ast.Constant)]
                yield from ((str(name), level, frozenset(fields)) for name in names)


def is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


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


def reasons_in(source: Path) -> Iterator[str]:
    """What the code says of a component that is not well, `…` for what differs."""
    for node in ast.walk(ast.parse(read(source))):
        if isinstance(node, ast.Yield | ast.Call) and (isinstance(node, ast.Yield) or ast.unparse(node.func) in _TELLS):
            [said] = [node.value] if isinstance(node, ast.Yield) else node.args[-1:]
            if isinstance(said, ast.JoinedStr) or (isinstance(said, ast.Constant) and isinstance(said.value, str)):
                parts = said.values if isinstance(said, ast.JoinedStr) else [said]
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)


def test_every_reason_of_health_is_in_the_runbook() -> None:
    section = read(OPERATIONS).partition("\n## Health\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `?(?:\w+)`? \| (`.*?`) \| [^|]+ \|$", section, re.MULTILINE)
    listed = [reason for row in rows for reason in re.findall(r"`(.*?)`", row)]
    said = [text for name in ("vital_signs", "stats", "bridge") for text in reasons_in(ROOT / "events" / f"{name}.py")]
    said += [f"Redis at … {reason}" for _, reason in _REASONS] + list(reasons_in(ROOT / "events" / "state" / "redis.py"))
    assert len(said) > len(_REASONS)
    # Only the beginning of a reason is listed; numbers that the code does not write out may be.
    patterns = [re.compile(".*?".join(map(re.escape, re.split("…|[0-9.]+", reason)))) for reason in listed]
    assert [text for text in said if not any(pattern.search(text) for pattern in patterns)] == []
    assert [reason for reason, pattern in zip(listed, patterns, strict=True) if not any(map(pattern.search, said))] == []


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", read(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == VERSION
