"""Figures as a reader wants them."""

from collections.abc import Sequence
from typing import Final

from bench.result import median

NOTHING: Final = "–"


def figure(metric: str, value: float | None) -> str:
    """Three digits that count; shares in per cent; a dash for what is not known."""
    if value is None:
        return NOTHING
    if metric == "delivered":
        return f"{100 * value:.4g} %"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(metric: str, values: Sequence[float]) -> str:
    """The median, and the smallest and largest of the runs where they differ."""
    middle, least, most = figure(metric, median(values)), *(figure(metric, end(values, default=None)) for end in (min, max))
    return middle if least == most else f"{middle} ({least} to {most})"
