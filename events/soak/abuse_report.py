"""What an abuse run found: the honest clients' streams and latencies, memory, and what became of the others."""

from collections.abc import Mapping
from typing import Any, Final

from events.soak.latency import Latencies
from events.soak.report import Report, merged, table

#: How much more memory than before the attack counts as having returned.
MEMORY_SHARE: Final = 1.10

#: How much slower the slowest hundredth may get.
P99_RATIO: Final = 2.0


class AbuseReport:
    """`clean` speaks of the honest clients' streams alone: how fast they are says as much of the machine as of the server."""

    def __init__(
        self,
        honest: Report,
        latencies: Mapping[tuple[str, str], Latencies],
        memory: Mapping[str, int],
        hostile: Mapping[str, Mapping[str, int]],
    ) -> None:
        """`latencies` by phase and transport; `memory` in bytes before the attack, at its peak and after it; `hostile`:
        outcomes by kind."""
        self._honest = honest
        self._by_transport = latencies
        phases = dict.fromkeys(phase for phase, _ in latencies)
        self._latencies = {
            phase: merged(found for (other, _), found in latencies.items() if other == phase) for phase in phases
        }
        self._memory = memory
        self._hostile = hostile

    @property
    def clean(self) -> bool:
        """Nothing lost, doubled or out of order, and no honest client told that it misses anything, or cut off."""
        tallies = [client.tally for client in self._honest.clients]
        return self._honest.clean and not any(tally.reconnects or tally.missed or tally.notices for tally in tallies)

    def verdict(self) -> str:
        """One sentence."""
        tallies = [client.tally for client in self._honest.clients]
        cut = sum(tally.reconnects for tally in tallies)
        return self._honest.verdict() + (f" Honest clients were cut off {cut:,} times." if cut else "")

    def text(self) -> str:
        """The tables."""
        honest = self._honest
        parts = (honest.streams_table(), honest.wrong(), self._phases(), self._outcomes(), self._ratios())
        return "\n\n".join(part for part in parts if part)

    def document(self) -> dict[str, Any]:
        """All of it as JSON-like data."""
        return {
            "clean": self.clean,
            "verdict": self.verdict(),
            "latency_ms": {
                phase: {"p50": round(found.percentile_ms(0.5), 1), "p99": round(found.percentile_ms(0.99), 1)}
                for phase, found in self._latencies.items()
            },
            "p99_ratio": round(self._p99_ratio, 2),
            "memory_bytes": dict(self._memory),
            "hostile": {kind: dict(outcome) for kind, outcome in self._hostile.items()},
            "honest": self._honest.document(),
        }

    @property
    def _p99_ratio(self) -> float:
        quiet, hostile = (self._latencies[phase].percentile_ms(0.99) for phase in ("quiet", "hostile"))
        return hostile / quiet if quiet else 0.0

    def _phases(self) -> str:
        head = ("honest clients", "events live", "p50 ms", "p99 ms", "max ms")
        found = self._latencies | {
            f"{phase}, {transport}": latencies for (phase, transport), latencies in self._by_transport.items()
        }
        rows = [
            (
                name,
                f"{latencies.count:,}",
                f"{latencies.percentile_ms(0.5):,.1f}",
                f"{latencies.percentile_ms(0.99):,.1f}",
                f"{latencies.max_ms:,.0f}",
            )
            for name, latencies in found.items()
        ]
        return table(head, rows, left=1)

    def _outcomes(self) -> str:
        columns = ("opened", "refused", "closed", "left", "held")
        rows = [(kind, *(f"{outcome[column]:,}" for column in columns)) for kind, outcome in self._hostile.items()]
        total = (f"{sum(outcome[column] for outcome in self._hostile.values()):,}" for column in columns)
        return table(("hostile sockets", *columns), [*rows, ("total", *total)], left=1)

    def _ratios(self) -> str:
        before, peak, after = (self._memory[moment] / 1e6 for moment in ("before", "peak", "after"))
        return (
            f"memory of the servers: {before:.1f} MB before, {peak:.1f} MB at most, {after:.1f} MB after "
            f"({after / before:.2f} of before; wanted: at most {MEMORY_SHARE:.2f})\n"
            f"p99 under attack: {self._p99_ratio:.2f} of quiet (wanted: at most {P99_RATIO:g})"
        )
