"""What a soak found: as tables for people, and as JSON."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from events.domain.topics import ALL, kind_of
from events.soak.client import TRANSPORTS, SoakClient
from events.soak.faults import Fault
from events.soak.latency import Latencies
from events.soak.ledger import Verdict
from events.soak.plan import SoakPlan

#: Streams and breaches that are named one by one; the JSON has all streams.
NAMED: Final = 20

#: Numbers of events that are named of one stream.
NUMBERS: Final = 10


@dataclass(frozen=True, slots=True)
class StreamResult:
    """The verdict on one topic of one client."""

    client: str
    transport: str
    topic: str
    verdict: Verdict


class Report:
    """Everything that was found. `clean` decides on the exit code."""

    def __init__(
        self,
        plan: SoakPlan,
        clients: Sequence[SoakClient],
        faults: Sequence[Fault],
        *,
        published: int,
        runs: int,
        retries: int,
        forgotten: int,
        seconds: float,
        cpu_s: float,
    ) -> None:
        self.plan = plan
        self.clients = clients
        self.faults = faults
        self.published = published
        self.runs = runs
        self.retries = retries
        self.forgotten = forgotten
        self.seconds = seconds
        self.cpu_s = cpu_s
        self.streams = [
            StreamResult(client.name, client.kind, subscription.topic, subscription.stream.verdict())
            for client in clients
            for subscription in client.subscriptions
        ]

    @property
    def clean(self) -> bool:
        """Nothing lost in silence, doubled, out of order or out of place, and no breach of the protocol."""
        return all(stream.verdict.clean for stream in self.streams) and not any(
            client.breaches or client.tally.stray for client in self.clients
        )

    @property
    def reconnect_peak(self) -> int:
        """The most connections after the first that began within any one second."""
        returns = sorted(at for client in self.clients for at in client.tally.returns)
        return max((bisect_right(returns, at + 1.0) - place for place, at in enumerate(returns)), default=0)

    # -- for people -----------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The tables, and below them what is wrong."""
        parts = [self._heading(), self.streams_table(), self._clients(), self.wrong()]
        return "\n\n".join(part for part in parts if part)

    def verdict(self) -> str:
        """One sentence."""
        total = self._sum(self.streams)
        told = f"; {total.told:,} told as missed" if total.told else ""
        if self.clean:
            return f"Nothing lost, nothing doubled, nothing out of order{told}."
        return (
            f"{len(total.lost):,} lost, {total.doubled:,} doubled, {total.disordered:,} out of order{told}, "
            f"{total.stray + sum(client.tally.stray for client in self.clients):,} out of place, "
            f"{sum(len(client.breaches) for client in self.clients):,} breaches of the protocol."
        )

    def _heading(self) -> str:
        plan = self.plan
        counts = Counter(fault.name for fault in self.faults)
        reconnects = sum(client.tally.reconnects for client in self.clients)
        deliveries = sum(client.tally.live + client.tally.resumed for client in self.clients)
        names = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        processes = f"{plan.servers} servers, {plan.relays} relays"
        lines = (
            f"plan        {plan.rate:g} events/s, {plan.clients} clients, {processes}, seed {plan.seed}",
            f"published   {self.published:,} events of {self.runs:,} runs in {self.seconds:.0f} s "
            f"({self.published / max(self.seconds, 0.001):.0f}/s), {self.retries} tries repeated"
            + (f", {self.forgotten} forgotten by a crashed Redis" if self.forgotten else ""),
            f"delivered   {deliveries:,} events to {len(self.clients)} clients",
            f"faults      {names or 'none'}",
            f"reconnects  {reconnects:,}, at most {self.reconnect_peak} in a second",
            f"load        {100 * self.cpu_s / max(self.seconds, 0.001):.0f} % of one processor for publisher and clients",
        )
        return "\n".join(lines)

    def streams_table(self) -> str:
        """What was expected of each kind of topic, and what came."""
        head = ("transport", "topics", "streams", "expected", "delivered", "lost", "doubled", "disordered", "told")
        kinds = (ALL, "workflow", "bot", "strategy")
        rows = []
        for transport in TRANSPORTS:
            for kind in kinds:
                streams = [s for s in self.streams if s.transport == transport and kind_of(s.topic) == kind]
                if streams:
                    rows.append(self._stream_row(transport, kind, streams))
        return table(head, [*rows, self._stream_row("total", "", self.streams)], left=2)

    def _stream_row(self, transport: str, kind: str, streams: Sequence[StreamResult]) -> tuple[str, ...]:
        total = self._sum(streams)
        counts = (len(streams), total.expected, total.delivered, len(total.lost), total.doubled, total.disordered, total.told)
        return transport, kind, *(f"{count:,}" for count in counts)

    def _clients(self) -> str:
        head = (
            "transport",
            "clients",
            "reconnects",
            "resumed",
            "with gaps",
            "silence s",
            "live p50 ms",
            "p99",
            "max",
            "late p99",
            "max",
        )
        by_transport = {name: [client for client in self.clients if client.kind == name] for name in TRANSPORTS}
        rows = [self._client_row(name, clients) for name, clients in by_transport.items() if clients]
        return table(head, [*rows, self._client_row("total", self.clients)], left=1)

    def _client_row(self, name: str, clients: Sequence[SoakClient]) -> tuple[str, ...]:
        tallies = [client.tally for client in clients]
        live = merged(tally.latencies for tally in tallies)
        late = merged(tally.late_latencies for tally in tallies)
        return (
            name,
            f"{len(clients):,}",
            f"{sum(tally.reconnects for tally in tallies):,}",
            f"{sum(tally.recovered for tally in tallies):,}",
            f"{sum(tally.unrecovered for tally in tallies):,}",
            f"{max((tally.silence_s for tally in tallies), default=0.0):.1f}",
            f"{live.percentile_ms(0.5):,.1f}",
            f"{live.percentile_ms(0.99):,.1f}",
            f"{live.max_ms:,.0f}",
            f"{late.percentile_ms(0.99):,.0f}",
            f"{late.max_ms:,.0f}",
        )

    def wrong(self) -> str:
        """Streams and clients that are not clean, by name; empty when all are."""
        lines = [
            f"{stream.client} ({stream.transport}), {stream.topic}: {_describe(stream.verdict)}"
            for stream in self.streams
            if not stream.verdict.clean
        ]
        for client in self.clients:
            lines += [f"{client.name} ({client.kind}): {breach}" for breach in client.breaches]
            if client.tally.stray:
                lines.append(f"{client.name} ({client.kind}): {client.tally.stray} events of no topic of its own")
        more = [f"… and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
        return "\n".join(lines[:NAMED] + more)

    def _sum(self, streams: Iterable[StreamResult]) -> Verdict:
        verdicts = [stream.verdict for stream in streams]
        return Verdict(
            expected=sum(verdict.expected for verdict in verdicts),
            delivered=sum(verdict.delivered for verdict in verdicts),
            lost=tuple(number for verdict in verdicts for number in verdict.lost),
            told=sum(verdict.told for verdict in verdicts),
            doubled=sum(verdict.doubled for verdict in verdicts),
            disordered=sum(verdict.disordered for verdict in verdicts),
            stray=sum(verdict.stray for verdict in verdicts),
        )

    # -- for programs ---------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """All of it as JSON-like data."""
        return {
            "clean": self.clean,
            "verdict": self.verdict(),
            "plan": asdict(self.plan),
            "published": self.published,
            "runs": self.runs,
            "retries": self.retries,
            "forgotten": self.forgotten,
            "seconds": round(self.seconds, 1),
            "cpu_s": round(self.cpu_s, 1),
            "reconnect_peak": self.reconnect_peak,
            "faults": [asdict(fault) for fault in self.faults],
            "clients": [_client_document(client) for client in self.clients],
            "streams": [
                {"client": stream.client, "transport": stream.transport, "topic": stream.topic, **asdict(stream.verdict)}
                for stream in self.streams
            ],
        }


def _client_document(client: SoakClient) -> dict[str, Any]:
    tally = client.tally
    counts = {
        name: getattr(tally, name)
        for name in ("live", "resumed", "stray", "reconnects", "recovered", "unrecovered", "missed", "notices", "errors")
    }
    return {
        "client": client.name,
        "transport": client.kind,
        **counts,
        "silence_s": round(tally.silence_s, 3),
        "latency_ms": _percentiles(tally.latencies),
        "late_latency_ms": _percentiles(tally.late_latencies),
        "breaches": list(client.breaches),
    }


def _percentiles(latencies: Latencies) -> dict[str, float]:
    shares = {"p50": 0.5, "p99": 0.99}
    return {name: round(latencies.percentile_ms(share), 1) for name, share in shares.items()} | {
        "max": round(latencies.max_ms, 1)
    }


def merged(parts: Iterable[Latencies]) -> Latencies:
    """The latencies of several, as those of one."""
    whole = Latencies()
    for part in parts:
        whole.merge(part)
    return whole


def _describe(verdict: Verdict) -> str:
    numbers = ", ".join(map(str, verdict.lost[:NUMBERS])) + (", …" if len(verdict.lost) > NUMBERS else "")
    parts = (
        f"{len(verdict.lost)} lost ({numbers})" if verdict.lost else "",
        f"{verdict.doubled} doubled" if verdict.doubled else "",
        f"{verdict.disordered} out of order" if verdict.disordered else "",
        f"{verdict.stray} out of place" if verdict.stray else "",
    )
    return ", ".join(part for part in parts if part)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Plain text; the first `left` columns are words, the others numbers."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(_line(line, widths, left) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    words = [cell.ljust(width) for cell, width in zip(cells[:left], widths[:left], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[left:], widths[left:], strict=True)]
    return "  ".join(words + numbers).rstrip()
