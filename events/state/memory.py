"""Shared state within one process."""

import time
from collections import deque
from collections.abc import Callable

from events.ports import EMERGENCY_CHANGES, MAX_SAMPLES, SAMPLES_AGE_S, Emergency, Sample


class MemoryStateStore:
    """Always serves. `clock` gives Unix time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._emergencies: deque[Emergency] = deque(maxlen=EMERGENCY_CHANGES)
        self._samples: deque[tuple[float, Sample]] = deque(maxlen=MAX_SAMPLES)

    async def ping(self) -> None:
        """Never raises."""

    async def emergency(self) -> Emergency:
        return self._emergencies[0] if self._emergencies else Emergency()

    async def set_emergency(self, emergency: Emergency) -> None:
        self._emergencies.appendleft(emergency)

    async def emergencies(self) -> list[Emergency]:
        return list(self._emergencies)

    async def add_sample(self, sample: Sample) -> None:
        self._samples.append((self._clock(), sample))

    async def samples(self) -> list[Sample]:
        while self._samples and self._samples[0][0] < self._clock() - SAMPLES_AGE_S:
            self._samples.popleft()
        return [sample for _, sample in self._samples]

    async def close(self) -> None:
        """Nothing to close."""
