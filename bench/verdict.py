"""Whether this server keeps what is promised of it: the targets of a case against what the runs found."""

from dataclasses import dataclass
from typing import Final

from bench.cases import Case, Target
from bench.peer import OURS
from bench.result import Record, median

MET: Final = "met"
MISSED: Final = "**missed**"
UNKNOWN: Final = "not measured"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and what became of it.

    ours:   this server's figure, the median of its runs; None when there is none
    theirs: what it is compared with; None when it stands for itself
    value:  the figure that the bound is for: the ratio, or this server's figure; None when it cannot be told
    """

    target: Target
    ours: float | None
    theirs: float | None
    value: float | None

    @property
    def word(self) -> str:
        if self.value is None:
            return UNKNOWN
        kept = self.value >= self.target.bound if self.target.least else self.value <= self.target.bound
        return MET if kept else MISSED


def judge(case: Case, target: Target, record: Record) -> Verdict:
    """Medians decide."""
    ours = median(record.values(case.name, target.ours, target.metric))
    if not target.against:
        return Verdict(target, ours, None, ours)
    theirs = median(record.values(*_other(case, target), target.metric))
    ratio = ours / theirs if ours is not None and theirs else None
    return Verdict(target, ours, theirs, ratio)


def _other(case: Case, target: Target) -> tuple[str, str]:
    """The case and the server that the target compares with."""
    return (target.against_case, OURS) if target.against_case else (case.name, target.against)
