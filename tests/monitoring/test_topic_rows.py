"""The rows of the page "Topics"."""

import orjson

from events.control import ListenedTopic
from events.domain.entry import Entry
from monitoring.topic_rows import topic_rows

NOW = 1_769_256_000.0  # 2026-01-24T12:00:00Z


def entry(number: int, topic: str, offset: int, timestamp: str = "2026-01-24T11:59:59Z") -> Entry:
    document = orjson.dumps({"type": f"type_{number}", "timestamp": timestamp})
    return Entry(number, document, ("all", topic), (number, offset))


def test_listeners_and_events_come_together() -> None:
    listened = [
        ListenedTopic("bot:b", 3, 4, 4, '{"type": "old", "timestamp": "2026-01-24T11:00:00Z", "text": "cut her'),
        ListenedTopic("strategy:s", 9, 0, 0, ""),
    ]
    entries = [entry(101, "bot:b", 5, "2026-01-24T11:59:50Z"), entry(102, "bot:b", 6), entry(103, "workflow:w", 200)]
    rows = {row.name: row for row in topic_rows(listened, entries, 100, NOW)}
    assert list(rows) == ["all", "bot:b", "workflow:w", "strategy:s"]
    assert (rows["bot:b"].subscribers, rows["bot:b"].events, rows["bot:b"].buffered) == (3, 6, 6)
    assert (rows["bot:b"].per_s, rows["bot:b"].last_type) == (0.2, "type_102")
    assert (rows["workflow:w"].subscribers, rows["workflow:w"].buffered) == (0, 100)
    assert (rows["strategy:s"].subscribers, rows["strategy:s"].last_type) == (9, "")


def test_a_quiet_topic_tells_of_its_last_event_although_its_text_is_cut() -> None:
    cut = '{"type": "old", "timestamp": "2026-01-24T11:00:00Z", "text": "cut her'
    (row,) = topic_rows([ListenedTopic("bot:b", 1, 4, 4, cut)], [], 100, NOW)
    assert (row.last_type, row.last_at, row.per_s) == ("old", "2026-01-24T11:00:00Z", 0.0)


def test_the_rate_is_that_of_the_last_minute() -> None:
    old = [entry(number, "bot:b", number, "2026-01-24T10:00:00Z") for number in range(1, 500)]
    (everything, bot) = topic_rows([], [*old, entry(500, "bot:b", 500)], 100, NOW)
    assert (everything.per_s, bot.per_s) == (1 / 60, 1 / 60)
