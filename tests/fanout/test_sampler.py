"""The samples of one process."""

import pytest

from events.fanout.counters import Counters
from events.fanout.latency import observe
from events.fanout.sampler import Sampler
from events.ports import Sample, Unavailable
from events.state.memory import MemoryStateStore
from tests.contracts.support import Clock


class Store(MemoryStateStore):
    away = False

    async def add_sample(self, sample: Sample) -> None:
        if self.away:
            raise Unavailable("away")
        await super().add_sample(sample)


async def test_each_sample_has_what_came_since_the_one_before() -> None:
    clock, store, counters, gauges = Clock(1_000.0), Store(), Counters(sent=5), {"clients": 2, "lagging": 1, "lag_s": 9.0}
    sampler = Sampler("p1", "server", store, lambda: counters, lambda: gauges, clock)
    counters.sent, counters.received = 12, 3
    observe(counters.labelled, "total", 0.004, 7)
    clock.now += 10
    await sampler.take()
    store.away = True
    counters.sent += 1
    clock.now += 10
    with pytest.raises(Unavailable):
        await sampler.take()
    store.away = False
    counters.rejected = 4
    gauges["leading"] = 1
    clock.now += 10
    await sampler.take()
    first, second = await store.samples()
    assert (first.process, first.kind, first.at, first.span_s) == ("p1", "server", 1_010.0, 10.0)
    assert (first.clients, first.lagging, first.sent, first.received, first.relay_lag_s) == (2, 1, 7, 3, None)
    assert (sum(first.latency), sum(second.latency)) == (7, 0)
    assert (second.span_s, second.sent, second.rejected, second.relay_lag_s) == (20.0, 1, 4, 9.0)
