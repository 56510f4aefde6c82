"""`events.ports.History` on memory and on Redis."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.domain.entry import Entry, Position, event_id, stamp
from events.ports import Append, DeadLetter, FencedOut, History, Moved, Queue
from tests.contracts.support import NOW, Build, Clock, event, write


def letter(number: int = 1) -> DeadLetter:
    return DeadLetter(
        "pubsub", "workflow_id", "workflow_id is missing. ✗", b"\x00\xff{" + bytes([number]), 1700000000.25 + number
    )


async def test_an_empty_history_gets_an_epoch_that_stays(history: History) -> None:
    position = await history.position()
    assert position.epoch
    assert position.number == 0
    assert await history.position() == position


async def test_an_empty_history_reads_as_empty(history: History) -> None:
    epoch = (await history.position()).epoch
    page = await history.read(0, 10)
    assert (page.epoch, list(page.entries), page.number) == (epoch, [], 0)
    [recent] = await history.recent(["workflow:w1"])
    assert (recent.epoch, recent.offset, list(recent.entries)) == (epoch, 0, [])
    assert await history.cursor("stream") == ""
    assert await history.rejected(10) == []


async def test_reading_first_gives_an_epoch_as_well(build: Build) -> None:
    history = build()
    page = await history.read(0, 10)
    assert page.epoch == (await history.position()).epoch != ""


async def test_append_numbers_events_in_order(history: History) -> None:
    start = await history.position()
    first = await history.append(Append(1, start, "stream", "1-0", [event("a"), event("b")]))
    second = await history.append(Append(1, Position(start.epoch, 2), "stream", "2-0", [event("c")]))
    assert [entry.number for entry in [*first, *second]] == [1, 2, 3]
    assert await history.position() == Position(start.epoch, 3)


async def test_offsets_are_contiguous_per_topic_over_batches(history: History) -> None:
    batches = [
        [event("a", bot_id="x"), event("b", bot_id="x"), event("a", strategy_id="s")],
        [event("a", bot_id="y"), event("b", bot_id="x", strategy_id="s")],
        [event("a"), event("a"), event("b")],
    ]
    seen: dict[str, list[int]] = {}
    for events in batches:
        for entry in await history.append(Append(1, await history.position(), "stream", "", events)):
            for topic, offset in zip(entry.topics, entry.offsets, strict=True):
                seen.setdefault(topic, []).append(offset)
    assert set(seen) == {"all", "workflow:a", "workflow:b", "bot:x", "bot:y", "strategy:s"}
    assert all(offsets == list(range(1, len(offsets) + 1)) for offsets in seen.values())
    assert len(seen["all"]) == 8


async def test_append_returns_what_the_domain_stamps_and_what_is_read_back(history: History) -> None:
    start = await history.position()
    events = [event("a", bot_id="b", note='"quoted" \\ 🎉'), event("a", strategy_id="s:1")]
    entries = await history.append(Append(1, start, "stream", "", events))
    expected = [
        stamp(events[0], Position(start.epoch, 1), [1, 1, 1]),
        stamp(events[1], Position(start.epoch, 2), [2, 2, 1]),
    ]
    assert entries == expected
    assert list((await history.read(0, 10)).entries) == expected
    assert list((await history.recent(["workflow:a"]))[0].entries) == expected


names = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=30) | st.sampled_from(
    [
        "a:b:c",
        "a\nb",
        "a\0b",
        '"',
        "\\",
        "{}",
        "🎉🎉",
        "%s%d",
        "a\u2028b",
        "'",
        "a b",
        "-",
        "e\u0301",
        "\U0001f469\u200d\U0001f680",
    ]
)
text = st.text(st.characters(codec="utf-8"))
documents = st.lists(
    st.builds(
        lambda workflow, bot, strategy, extra, spaces: (
            made := event(workflow, **{k: v for k, v in {"bot_id": bot, "strategy_id": strategy}.items() if v}, extra=extra)
        )._replace(
            document=made.document[:-1] + spaces + b"}",
        ),
        names,
        names | st.none(),
        names | st.none(),
        st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | text, st.lists),
        st.sampled_from([b"", b" ", b"\n\t "]),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=documents)
async def test_any_document_comes_back_byte_for_byte(events: list[Any], build: Build) -> None:
    history = build()
    start = await history.position()
    entries = await history.append(Append(1, start, "stream", "", events))
    page = await history.read(start.number, len(events))
    assert list(page.entries) == entries
    for given_event, entry in zip(events, page.entries, strict=True):
        position = Position(start.epoch, entry.number)
        assert entry == stamp(given_event, position, entry.offsets)
        assert event_id(position).encode() in entry.document
    for topic in {topic for given_event in events for topic in given_event.topics}:
        [recent] = await history.recent([topic])
        newest = [entry for entry in entries if topic in entry.topics]
        assert list(recent.entries)[-len(newest) :] == newest


async def test_a_batch_without_events_moves_the_cursor_alone(history: History) -> None:
    start = await history.position()
    assert await history.append(Append(1, start, "stream", "7-1")) == []
    assert await history.cursor("stream") == "7-1"
    assert await history.position() == start


async def test_each_input_has_its_own_cursor_and_an_empty_one_changes_nothing(history: History) -> None:
    await write(history, event(), source="stream", cursor="5-0")
    await write(history, event(), source="memory", cursor="9-0")
    await write(history, event(), source="stream", cursor="")
    assert await history.cursor("stream") == "5-0"
    assert await history.cursor("memory") == "9-0"
    assert await history.cursor("pubsub") == ""


async def test_an_older_fencing_token_is_refused_and_nothing_is_written(history: History) -> None:
    await write(history, event(), fence=2, cursor="1-0")
    position = await history.position()
    with pytest.raises(FencedOut, match="1 is older than 2"):
        await history.append(Append(1, position, "stream", "9-9", [event()], [letter()]))
    assert await history.position() == position
    assert await history.cursor("stream") == "1-0"
    assert await history.rejected(10) == []
    await write(history, event(), fence=2)
    await write(history, event(), fence=1_800_000_000_000)
    with pytest.raises(FencedOut, match="1800000000000"):
        await write(history, event(), fence=1_799_999_999_999)


@pytest.mark.parametrize(
    "elsewhere",
    [lambda here: Position(here.epoch, here.number - 1), lambda here: Position("0123456789abcdef", here.number)],
    ids=["behind", "other-epoch"],
)
async def test_a_writer_at_another_place_is_told_where_the_history_is(
    history: History, elsewhere: Callable[[Position], Position]
) -> None:
    await write(history, event("a"), event("a"), cursor="1-0")
    here = await history.position()
    with pytest.raises(Moved) as raised:
        await history.append(Append(1, elsewhere(here), "stream", "9-9", [event("a")], [letter()]))
    assert raised.value.position == here
    assert await history.position() == here
    assert await history.cursor("stream") == "1-0"
    assert await history.rejected(10) == []
    assert (await history.recent(["workflow:a"]))[0].offset == 2
    assert len((await history.read(0, 10)).entries) == 2


async def test_a_writer_that_saw_more_than_there_is_begins_an_epoch(history: History) -> None:
    await write(history, event("a"), event("a"), cursor="1-0")
    before = await history.position()
    with pytest.raises(Moved) as raised:
        await history.append(Append(1, Position(before.epoch, 3), "stream", "9-9", [event("a")]))
    after = await history.position()
    assert raised.value.position == after
    assert after.epoch != before.epoch
    assert after.number == 0
    assert await history.cursor("stream") == "1-0"
    assert list((await history.read(0, 10)).entries) == []
    [entry] = await history.append(Append(1, after, "stream", "2-0", [event("a")]))
    assert entry.offsets == (1, 1)
    [recent] = await history.recent(["workflow:a"])
    assert (recent.epoch, recent.offset, list(recent.entries)) == (after.epoch, 1, [entry])


async def test_two_writers_at_one_place_one_wins(history: History) -> None:
    start = await history.position()
    await history.append(Append(1, start, "stream", "1-0", [event("a")]))
    with pytest.raises(Moved) as raised:
        await history.append(Append(1, start, "stream", "1-0", [event("b")]))
    assert raised.value.position == Position(start.epoch, 1)


async def test_pages_are_consecutive_and_bounded(history: History) -> None:
    await write(history, *[event("a") for _ in range(7)])
    page = await history.read(2, 3)
    assert [entry.number for entry in page.entries] == [3, 4, 5]
    assert page.number == 7
    assert [entry.number for entry in (await history.read(5, 100)).entries] == [6, 7]
    for beyond in (7, 8, 1000):
        page = await history.read(beyond, 5)
        assert (list(page.entries), page.number) == ([], 7)


async def test_the_journal_is_capped_and_a_page_starts_at_what_is_left(build: Build) -> None:
    history = build(journal_events=200)
    for _ in range(5):
        await write(history, *[event("a") for _ in range(100)])
    page = await history.read(0, 1000)
    numbers = [entry.number for entry in page.entries]
    assert 200 <= len(numbers) <= 300
    assert numbers == list(range(501 - len(numbers), 501))
    assert page.number == 500
    [recent] = await history.recent(["all"])
    assert [entry.number for entry in recent.entries] == list(range(401, 501))


async def test_recent_buffers_hold_the_last_events_oldest_first(build: Build) -> None:
    history = build(recent_events=3)
    entries: list[Entry] = []
    for sizes in (2, 1, 1, 5):
        batch = [event("a", bot_id="b"), event("c")] * sizes
        entries += await history.append(Append(1, await history.position(), "stream", "", batch))
    of_a = [entry for entry in entries if "workflow:a" in entry.topics]
    everything, a, b, nothing = await history.recent(["all", "workflow:a", "bot:b", "workflow:none"])
    assert list(everything.entries) == entries[-3:]
    assert everything.offset == 18
    assert list(a.entries) == list(b.entries) == of_a[-3:]
    assert a.offset == b.offset == 9
    assert (nothing.offset, list(nothing.entries)) == (0, [])
    epoch = (await history.position()).epoch
    assert {recent.epoch for recent in (everything, a, b, nothing)} == {epoch}


async def test_recent_of_no_topics_is_nothing(history: History) -> None:
    assert await history.recent([]) == []


async def test_dead_letters_are_kept_with_the_step_newest_first(history: History) -> None:
    await write(history, rejected=[letter(1), letter(2)])
    await write(history, event(), rejected=[letter(3)])
    assert await history.rejected(2) == [letter(3), letter(2)]
    assert await history.rejected(10) == [letter(3), letter(2), letter(1)]


async def test_what_is_kept_is_told_with_its_bound(build: Build) -> None:
    history = build(journal_events=500, dead_letters=100)
    await write(history, event(), event(), event(), rejected=[letter(1)])
    assert await history.fill() == {"journal": Queue(500, 3), "dead_letters": Queue(100, 1)}


async def test_dead_letters_are_capped(build: Build) -> None:
    history = build(dead_letters=100)
    for _ in range(5):
        await write(history, rejected=[letter(number) for number in range(100)])
    kept = await history.rejected(1000)
    assert [found.document for found in kept] == [letter(number).document for number in range(99, -1, -1)]
    assert (await history.fill())["dead_letters"].waiting == 100


async def test_dead_letters_are_capped_in_bytes(build: Build) -> None:
    history = build(dead_letter_bytes=1_000)
    for number in range(10):
        await write(history, rejected=[replace(letter(number), document=b"x" * 300)])
    assert await history.rejected(10) == [replace(letter(number), document=b"x" * 300) for number in (9, 8, 7)]
    await write(history, rejected=[replace(letter(11), document=b"x" * 1_000)])
    assert [found.at for found in await history.rejected(10)] == [letter(11).at]
    # What is larger than all that may be kept is not kept, and does no harm to what comes after.
    await write(history, rejected=[replace(letter(12), document=b"x" * 1_001)])
    await write(history, rejected=[letter(13)])
    assert await history.rejected(10) == [letter(13)]


async def test_huge_dead_letters_push_out_the_oldest_whatever_their_number(build: Build) -> None:
    """What is kept of an event that is too large is as much as the largest that is taken."""
    bound, size = 4_500_000, 1_000_000
    history = build(dead_letter_bytes=bound, dead_letters=100)
    await write(history, rejected=[letter(number) for number in range(50)])
    for number in range(100, 103):
        await write(history, rejected=[huge(number, size), huge(number + 10, size)])
        assert await kept_bytes(history) <= bound
    assert [found.at for found in await history.rejected(1_000)] == [huge(n, size).at for n in (112, 102, 111, 101)]
    # More in one step than is kept in all: its last ones stay.
    await write(history, rejected=[huge(number, size) for number in range(200, 206)])
    assert [found.at for found in await history.rejected(1_000)] == [huge(n, size).at for n in (205, 204, 203, 202)]
    # The room that is left is there for small ones, and the room of one that is discarded too.
    await write(history, rejected=[letter(number) for number in range(50)])
    assert ((await history.fill())["dead_letters"].waiting, await kept_bytes(history) <= bound) == (54, True)
    assert await history.discard((await history.rejected(1_000))[-1].letter_id)
    await write(history, rejected=[huge(250, size)])
    assert ((await history.fill())["dead_letters"].waiting, await kept_bytes(history) <= bound) == (54, True)


def huge(number: int, size: int) -> DeadLetter:
    return replace(letter(number), document=b"x" * size, size=40 * size)


async def kept_bytes(history: History) -> int:
    return sum(len(found.document) for found in await history.rejected(1_000))


async def test_dead_letters_are_read_in_pages_and_by_id(history: History) -> None:
    await write(history, rejected=[letter(number) for number in range(5)])
    first = await history.rejected(2)
    second = await history.rejected(10, first[-1].letter_id)
    assert [*first, *second] == [letter(number) for number in range(4, -1, -1)]
    assert len({found.letter_id for found in (*first, *second)}) == 5
    assert await history.dead_letter(second[0].letter_id) == letter(2)
    for wrong in ("", "99999999999999-0", "nonsense", "1-1-1", "²"):
        assert await history.dead_letter(wrong) is None
        assert not await history.discard(wrong)


async def test_a_dead_letter_is_discarded_once_and_makes_room(build: Build) -> None:
    history = build(dead_letter_bytes=10)
    await write(history, rejected=[letter(1), letter(2)])
    older = (await history.rejected(2))[1].letter_id
    assert [await history.discard(older), await history.discard(older)] == [True, False]
    assert await history.rejected(10) == [letter(2)]
    await write(history, rejected=[letter(3)])
    assert await history.rejected(10) == [letter(3), letter(2)]


async def test_trim_drops_what_is_older_than_the_age_cap(build: Build, clock: Clock) -> None:
    history = build(journal_age_s=3600)
    await write(history, event("a"), event("a"))
    assert await history.trim(clock.now) == 0
    clock.now += 1800
    await write(history, event("a"))
    assert await history.trim(clock.now) == 0
    clock.now += 1801
    assert await history.trim(clock.now) == 2
    page = await history.read(0, 10)
    assert [entry.number for entry in page.entries] == [3]
    clock.now += 1800
    assert await history.trim(clock.now) == 1
    assert await history.trim(clock.now) == 0
    page = await history.read(0, 10)
    assert (list(page.entries), page.number) == ([], 3)
    await write(history, event("a"))
    assert [entry.offsets for entry in (await history.read(0, 10)).entries] == [(4, 4)]


async def test_a_quiet_history_is_trimmed_too(build: Build, clock: Clock) -> None:
    history = build(journal_age_s=3600)
    await write(history, event("a"))
    dropped = 0
    for _ in range(200):
        dropped += await history.trim(clock.now)
        clock.now += 30
    assert dropped == 1


async def test_trim_of_an_empty_history_drops_nothing(history: History) -> None:
    assert await history.trim(NOW) == 0


async def test_a_batch_of_many_topics_is_one_step(history: History) -> None:
    events = [event(f"w{number}", bot_id=f"b{number}", strategy_id=f"s{number}") for number in range(3000)]
    await write(history, *events)
    assert (await history.position()).number == 3000
    recents = await history.recent(["workflow:w0", "bot:b2999", "strategy:s1500"])
    assert [(recent.offset, len(recent.entries)) for recent in recents] == [(1, 1)] * 3
