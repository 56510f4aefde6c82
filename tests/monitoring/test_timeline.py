"""From samples to the lines of the charts."""

from dataclasses import replace

from events.fanout.latency import BUCKETS
from events.ports import Sample
from monitoring.timeline import LINES, charts

EMPTY = [0] * len(BUCKETS)
START = 1_769_248_800.0


def latency(**counts: int) -> list[int]:
    """Deliveries per bucket; `ms_10` is the bucket up to 10 ms."""
    wanted = {f"{float(name.removeprefix('ms_')) / 1000:g}": count for name, count in counts.items()}
    return [wanted.get(bucket, 0) for bucket in BUCKETS]


def sample(process: str = "web-1", at: float = START, **fields: object) -> Sample:
    plain = Sample(process, "server", at, 10.0, 0, 0, 0, 0, 0, None, EMPTY)
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_without_samples_there_is_nothing() -> None:
    assert charts([]) == {"at": [], "lines": {"total": {name: [] for name in LINES}}}


def test_processes_add_up_and_stay_apart() -> None:
    found = charts(
        [
            sample("web-1", clients=3, lagging=1, sent=50),
            sample("web-2", START + 0.4, clients=4, sent=20),
            sample("bus-1", START + 0.1, received=10, rejected=5, relay_lag_s=0.5),
        ]
    )
    assert found["at"] == [START]
    total = found["lines"]["total"]
    assert {name: values[0] for name, values in total.items()} == {
        "clients": 7, "lagging": 1, "received": 1.0, "sent": 7.0, "rejected": 0.5, "relay_lag_s": 0.5, "p50_ms": None,
        "p99_ms": None,
    }  # fmt: skip
    assert found["lines"]["web-2"]["sent"] == [2.0]
    assert found["lines"]["web-1"]["relay_lag_s"] == [None]


def test_a_sample_over_a_longer_time_is_no_spike() -> None:
    assert charts([sample(sent=600, span_s=60.0)])["lines"]["web-1"]["sent"] == [10.0]


def test_time_without_samples_is_a_gap() -> None:
    found = charts([sample(at=START, clients=1), sample(at=START + 30, clients=2)])
    assert found["at"] == [START, START + 10, START + 20, START + 30]
    assert found["lines"]["total"]["clients"] == [1, None, None, 2]


def test_the_lag_of_all_is_that_of_the_slowest_relay() -> None:
    found = charts([sample("a", relay_lag_s=0.0), sample("b", relay_lag_s=2.5)])
    assert found["lines"]["total"]["relay_lag_s"] == [2.5]


def test_latencies_of_processes_are_merged_not_averaged() -> None:
    fast, slow = latency(ms_1=99), latency(ms_1000=1)
    total = charts([sample("a", latency=fast), sample("b", latency=slow)])["lines"]["total"]
    assert total["p50_ms"][0] <= 1.0
    assert total["p99_ms"][0] == 1.0
    many = charts([sample("a", latency=fast), sample("b", latency=latency(ms_1000=5))])["lines"]["total"]
    assert many["p99_ms"][0] > 500
