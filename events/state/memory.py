"""Shared state within one process."""

import time
from collections import deque
from collections.abc import Callable

from events.ports import MAX_SAMPLES, SAMPLES_AGE_S, Emergency, Sample


class MemoryStateStore:
    """Always serves. `clock` gives Unix time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._emergency = Emergency()
        self._samples: deque[tuple[float, Sample]] = deque(maxlen=MAX_SAMPLES)

    async def ping(self) -> None:
        """Never raises."""

    async def emergency(self) -> Emergency:
        return self._emergency

    async def set_emergency(self, emergency: Emergency) -> None:
        self._emergency = emergency

    async def add_sample(self, sample: Sample) -> None:
        self._samples.append((self._clock(), sample))

    async def samples(self) -> list[Sample]:
        while self._samples and self._samples[0][0] < self._clock() - SAMPLES_AGE_S:
            self._samples.popleft()
        return [sample for _, sample in self._samples]

    async def close(self) -> None:
        """Nothing to close."""
