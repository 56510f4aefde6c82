"""docs/performance.md: the generated part stands between two marks, what is written by hand around it stays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.growth import SERIES
from bench.report import render
from bench.result import Record

BEGIN: Final = "<!-- bench: begin -->"
END: Final = "<!-- bench: end -->"


def write_page(record: Record, charts: Sequence[Path], page: Path) -> None:
    """Renew the generated part of the page. `charts` are files below the page's folder, named after their series."""
    addresses = {chart.stem: chart.relative_to(page.parent).as_posix() for chart in charts}
    images = {name: f"![{SERIES[name]}: cost per delivery, latency, memory]({address})" for name, address in addresses.items()}
    page.write_text(replace_between(page.read_text(encoding="utf-8"), render(record, images)), encoding="utf-8")


def replace_between(page: str, text: str) -> str:
    """The page with this text between the marks. Raises `ValueError` when they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have {BEGIN} and, after it, {END}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"
