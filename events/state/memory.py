"""Shared state within one process."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from events.domain.durations import Durations, joined
from events.ports import EMERGENCY_CHANGES, MAX_SAMPLES, MAX_WORKFLOWS, SAMPLES_AGE_S, Emergency, Sample


class MemoryStateStore:
    """Always serves. `clock` gives Unix time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._emergencies: deque[Emergency] = deque(maxlen=EMERGENCY_CHANGES)
        #: Those that were kept last come last.
        self._durations: dict[str, dict[str, list[float]]] = {}
        self._samples: deque[tuple[float, Sample]] = deque(maxlen=MAX_SAMPLES)

    async def ping(self) -> None:
        """Never raises."""

    async def emergency(self) -> Emergency:
        return self._emergencies[0] if self._emergencies else Emergency()

    async def set_emergency(self, emergency: Emergency) -> None:
        self._emergencies.appendleft(emergency)

    async def emergencies(self) -> list[Emergency]:
        return list(self._emergencies)

    async def keep_durations(self, found: Mapping[str, Durations]) -> None:
        for workflow, nodes in found.items():
            self._durations[workflow] = joined(self._durations.pop(workflow, {}), nodes)
        while len(self._durations) > MAX_WORKFLOWS:
            del self._durations[next(iter(self._durations))]

    async def durations(self, workflows: Sequence[str]) -> dict[str, dict[str, list[float]]]:
        return {workflow: self._durations[workflow] for workflow in workflows if workflow in self._durations}

    async def add_sample(self, sample: Sample) -> None:
        self._samples.append((self._clock(), sample))

    async def samples(self) -> list[Sample]:
        while self._samples and self._samples[0][0] < self._clock() - SAMPLES_AGE_S:
            self._samples.popleft()
        return [sample for _, sample in self._samples]

    async def close(self) -> None:
        """Nothing to close."""
