"""The growth charts: cost per delivery, latency and memory over what grows, as SVG files that read in light and dark."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bench.growth import PANELS, SERIES, Line, lines
from bench.result import Record

#: Drawn in these, then replaced by variables of a style sheet, which knows whether the reader's page is dark.
INK: Final = "#010101"
GRID: Final = "#020202"
COLOURS: Final = {"ours": "#030303", "node": "#040404", "nchan": "#050505"}

STYLE: Final = """<style>
:root { --ink: #24292f; --grid: #d0d7de; --ours: #0969da; --node: #bc4c00; --nchan: #6e7781; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --grid: #3d444d; --ours: #58a6ff; --node: #f0883e; --nchan: #9198a1; }
}
</style>
"""

#: So that the same results give the same files.
mpl.rcParams["svg.hashsalt"] = "bench"
mpl.rcParams["svg.fonttype"] = "none"


def write_charts(record: Record, folder: Path) -> list[Path]:
    """One file per series that was measured; returns them. Files of before are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    written = []
    for series, title in SERIES.items():
        drawn = {metric: lines(record, series, metric) for metric in PANELS}
        if any(drawn.values()):
            written.append(folder / f"{series}.svg")
            _write(_draw(title, drawn), written[-1])
    return written


def _draw(title: str, drawn: dict[str, list[Line]]) -> Figure:
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(PANELS))
    for panel, (metric, label) in zip(panels, PANELS.items(), strict=True):
        for line in drawn[metric]:
            panel.plot(line.x, line.y, marker="o", markersize=4, color=COLOURS[line.peer], label=line.title)
        _dress(panel, title, label)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(COLOURS), frameon=False, labelcolor=INK)
    return figure


def _dress(panel: Axes, title: str, label: str) -> None:
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel(title, color=INK)
    panel.set_title(label, color=INK, fontsize=10)
    panel.tick_params(which="both", colors=INK)
    panel.grid(color=GRID, linewidth=0.6)
    panel.patch.set_visible(False)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    # Without a whole power of ten between them, small differences would have no figures at all.
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for spine in panel.spines.values():
        spine.set_color(GRID)


def _write(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    text = path.read_text(encoding="utf-8")
    for name, colour in {"ink": INK, "grid": GRID, **COLOURS}.items():
        text = text.replace(colour, f"var(--{name})")
    head, found, rest = text.partition("<defs>")
    path.write_text(head + STYLE + found + rest, encoding="utf-8")
