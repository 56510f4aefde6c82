"""The documentation as data: fenced blocks, commands, links, headings."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conftest import ROOT

CLIENT: Final = ROOT / "clients" / "python" / "README.md"

#: Folders with pages beside the documentation's own.
PARTS: Final = ("examples", "bench", "clients/python")

#: Every page that is shipped.
PAGES: Final = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*.md"),
        *(ROOT / "bench").glob("*.md"),
        CLIENT,
    ],
    key=lambda page: page.as_posix(),
)

README: Final = ROOT / "README.md"
GUIDE: Final = ROOT / "docs" / "guide.md"

_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_NAME: Final = re.compile(r"^(?:#+ |\*\*)`?([^`*\n]+)`?", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block. `name` is what stands in the last heading, or at the beginning of a line in bold, before it."""

    page: Path
    line: int
    language: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", read(page))


def languages(page: Path) -> set[str]:
    """The languages of a page's fenced blocks."""
    return {match["language"] for match in _FENCE.finditer(read(page))}


def blocks(page: Path, *languages: str) -> list[Block]:
    text = read(page)
    found = []
    for match in _FENCE.finditer(text):
        if match["language"] in languages:
            before = _FENCE.sub("", text[: match.start()])
            name = _NAME.findall(before)[-1]
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, match["language"], name, textwrap.dedent(match["text"])))
    return found


@dataclass(frozen=True)
class Command:
    """One shell command, with the `export` lines that stand before it in its block."""

    block: Block
    text: str
    exports: str

    def __str__(self) -> str:
        return f"{self.block} {self.text.splitlines()[0][:60]}"


def commands(page: Path) -> Iterator[Command]:
    """The commands of a page, without comments. One that is quoted over several lines is one command."""
    for block in blocks(page, "bash"):
        exports, pending = "", ""
        for line in block.text.splitlines():
            pending += line + "\n"
            if pending.count("'") % 2:
                continue
            text, pending = re.sub(r"(^|\s+)# .*$", "", pending.strip()), ""
            if text.startswith("export "):
                exports += text + "\n"
            elif text:
                yield Command(block, text, exports)


def links(page: Path) -> list[str]:
    """Where a page leads to."""
    text = re.sub(r"`[^`\n]*`", "`", prose(page))
    return [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r"<(https?://[^>\s]+)>", text)]


def anchors(page: Path) -> set[str]:
    """The headings of a page as they are linked to."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
