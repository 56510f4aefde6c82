"""Events of a given size, made quickly."""

from typing import Final

#: The load client reads the mark: topic, number within the topic, time of publication in ns (CLOCK_MONOTONIC).
_MARK: Final = '{"mark":[%d,%d,%d],'

_FULL: Final = (
    '"type":"node_completed","execution_id":"exec_wf_%(topic)d_a1b2c3d4","workflow_id":"wf_%(topic)d","bot_id":"bot_%(topic)d",'
    '"strategy_id":"strategy_%(topic)d","node_id":"price_binance","timestamp":"2026-01-24T10:00:00.145Z","duration_ms":45,'
    '"status":"success","outputs":{"price":50234.56,"volume":1234.56}'
)

#: The least that is an event, for small sizes.
_SMALL: Final = '"type":"t","execution_id":"e","workflow_id":"wf_%(topic)d","timestamp":"2026-01-24T10:00Z"'

#: What a mark usually takes.
_MARK_BYTES: Final = len(_MARK % (0, 100, 10**13))


class EventTexts:
    """JSON texts of events of about `size` bytes, for topics that are given by their number."""

    def __init__(self, topics: int, size: int) -> None:
        self._rests = [_rest(topic, size - _MARK_BYTES) for topic in range(topics)]

    def text(self, topic: int, sequence: int, published_ns: int) -> bytes:
        """One event of `topic`: the `sequence`-th, counted from 0."""
        return (_MARK % (topic, sequence, published_ns)).encode() + self._rests[topic]


def _rest(topic: int, size: int) -> bytes:
    ids = {"topic": topic}
    full, small = _FULL % ids, _SMALL % ids
    body = full if len(full) < size else small
    missing = size - len(body) - len(',"note":""}')
    return (f'{body},"note":"{"x" * missing}"}}' if missing > 0 else body + "}").encode()
