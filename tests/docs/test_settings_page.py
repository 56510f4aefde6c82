"""docs/settings.md against the settings themselves: the same variables, types, ranges and defaults."""

import re
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.conftest import ROOT
from wsproject import env as environment
from wsproject.env import Environment

#: The type of each reader without bounds, as the page writes it.
TYPES: Final = {
    "text": "text",
    "secret": "secret",
    "flag": "true or false",
    "items": "list",
    "word": "name",
    "origins": "list of origins",
    "web_address": "address",
    "networks": "list of addresses and networks",
    "redis_url": "Redis address, secret",
    "database": "database address, secret",
}


class Recorder(Environment):
    """Notes which reader asked for which variable, and with which arguments."""

    def __init__(self, **given: str) -> None:
        super().__init__(given)
        self.asked: dict[str, tuple[str, str]] = {}

    def __getattribute__(self, attribute: str) -> Any:
        found = super().__getattribute__(attribute)
        if attribute not in {*TYPES, "integer", "number", "choice", "choices"}:
            return found
        asked = self.asked
        reader: Callable[..., Any] = found

        def read(name: str, *args: Any, **options: Any) -> Any:
            # Readers call each other; the first one is the one that the settings called.
            if name not in asked:
                asked[name] = describe(attribute, [*args, *options.values()])
            return reader(name, *args, **options)

        return read


def describe(reader: str, args: Sequence[Any]) -> tuple[str, str]:
    """Type and default as the page writes them."""
    default = args[0] if args else ""
    if reader == "integer":
        return f"whole number, {args[1]} to {args[2]}", write(default)
    if reader == "number":
        return f"number, {args[1]:g} to {args[2]:g}", write(default)
    if reader == "choice":
        return " or ".join(f"`{choice}`" for choice in args[1]), write(default)
    if reader == "choices":
        return f"list of {', '.join(f'`{choice}`' for choice in args[1])}", write(default)
    return TYPES[reader], write(default)


def write(default: Any) -> str:
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, Path):
        return f"`{default.name}`"
    if isinstance(default, (tuple, list)):
        default = ",".join(default)
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if default != "" else "–"


def recorded(monkeypatch: pytest.MonkeyPatch, **given: str) -> dict[str, tuple[str, str]]:
    recorder = Recorder(**given)
    monkeypatch.setattr(environment, "load", lambda _: recorder)
    runpy.run_path(str(ROOT / "wsproject" / "settings.py"))
    return recorder.asked


def page() -> dict[str, tuple[str, str]]:
    """Variable -> type and default, of each row of the page."""
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \| .+ \|$", text, re.MULTILINE)
    assert len({name for name, *_ in rows}) == len(rows), "a variable is listed twice"
    return {name: (kind, default) for name, kind, default in rows}


def test_the_page_lists_the_variables_of_the_example_file() -> None:
    listed = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(page()) == sorted(listed)


def test_types_ranges_and_defaults_are_the_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    development = recorded(monkeypatch)
    production = recorded(monkeypatch, ENV="production")
    found = page()
    for name, (kind, default) in development.items():
        if name == "SECRET_KEY":
            default = "–"  # What development has is no secret, and nobody needs to know it.
        if production[name][1] != default:
            default = f"{default}; production: {production[name][1]}"
        assert found[name] == (kind, default), name


def test_a_token_makes_authentication_required(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recorded(monkeypatch)["WS_REQUIRE_AUTH"][1] == "`false`"
    assert recorded(monkeypatch, WS_AUTH_TOKEN="t" * 32)["WS_REQUIRE_AUTH"][1] == "`true`"


def seconds(text: str) -> float:
    """A bound as a number: `100,000`, `1 MiB`, `24 h`; times in seconds."""
    match = re.fullmatch(r"(?:about )?([\d,]+)(?: (MiB|s|h|days))?", text.strip())
    assert match, text
    units = {"MiB": 1_048_576, "h": 3_600, "days": 86_400}
    return int(match[1].replace(",", "")) * units.get(match[2] or "", 1)


def test_the_bounds_of_the_architecture_page_are_the_defaults() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| [^|]* \| ([^|]+) \| (`WS_[^|]+`) \|", text, re.MULTILINE)
    defaults = {name: default.strip("`") for name, (_, default) in page().items()}
    assert len(rows) > 10
    for bound, settings in rows:
        if "above" in bound:
            continue
        bounds = [seconds(part) for part in re.split(r"[;+]", bound)]
        for name in re.findall(r"WS_\w+", settings):
            scale = 1_000 if name.endswith("_MS") else 1
            assert float(defaults[name]) / scale in bounds, name
