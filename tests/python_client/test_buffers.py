"""Where events wait: the same bounds in memory and on disk, and what only the disk has."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from workflow_events.buffer import BATCH_BYTES, BATCH_EVENTS, Buffer, MemoryBuffer, OnFull
from workflow_events.spool import Spool

NewBuffer = Callable[[int, OnFull], Buffer]

#: Bytes of an event here, so that a few of them fill a buffer.
SIZE: Final = 100


def document(number: int) -> bytes:
    return b'{"number":%d}' % number + b" " * (SIZE - 11 - len(str(number)))


def drain(buffer: Buffer) -> list[bytes]:
    """Everything that waits, taken as a publisher does."""
    taken: list[bytes] = []
    while (batch := buffer.batch()) is not None:
        taken += batch.documents
        buffer.done(batch.last)
    return taken


@pytest.fixture(params=["memory", "disk"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> NewBuffer:
    if request.param == "memory":
        return MemoryBuffer
    return lambda max_bytes, on_full: Spool(tmp_path, max_bytes, on_full)


def test_what_is_added_comes_out_in_order(new: NewBuffer) -> None:
    buffer = new(1 << 20, "drop_oldest")
    assert buffer.batch() is None
    added = [document(number) for number in range(BATCH_EVENTS + 10)]
    for each in added:
        buffer.append(each)
    first = buffer.batch()
    assert first is not None
    assert buffer.batch() == first
    assert (first.first, first.last, buffer.pending) == (1, BATCH_EVENTS, BATCH_EVENTS + 10)
    assert drain(buffer) == added
    assert (buffer.pending, buffer.dropped) == (0, 0)
    buffer.close()


def test_a_batch_is_bounded_in_bytes(new: NewBuffer) -> None:
    buffer = new(10 * BATCH_BYTES, "drop_oldest")
    large = b'"' + b"x" * (BATCH_BYTES // 2) + b'"'
    for _ in range(3):
        buffer.append(large)
    batch = buffer.batch()
    assert batch is not None
    assert len(batch.documents) == 1
    buffer.close()


def test_a_full_buffer_drops_what_is_oldest(new: NewBuffer) -> None:
    buffer = new(100 * SIZE, "drop_oldest")
    added = [document(number) for number in range(300)]
    for each in added:
        buffer.append(each)
    kept = buffer.pending
    assert 50 <= kept <= 100
    assert buffer.dropped == 300 - kept
    assert drain(buffer) == added[-kept:]
    buffer.close()


def test_a_full_buffer_drops_what_is_newest(new: NewBuffer) -> None:
    buffer = new(100 * SIZE, "drop_newest")
    added = [document(number) for number in range(300)]
    for each in added:
        buffer.append(each)
    kept = buffer.pending
    assert 50 <= kept <= 100
    assert buffer.dropped == 300 - kept
    assert drain(buffer) == added[:kept]
    buffer.append(document(300))
    assert drain(buffer) == [document(300)]
    buffer.close()


def test_a_batch_that_is_dropped_while_it_is_published_is_not_forgotten_twice(new: NewBuffer) -> None:
    buffer = new(100 * SIZE, "drop_oldest")
    buffer.append(document(0))
    batch = buffer.batch()
    assert batch is not None
    for number in range(1, 300):
        buffer.append(document(number))
    left = buffer.pending
    buffer.done(batch.last)
    assert buffer.pending == left
    assert drain(buffer)[-1] == document(299)
    buffer.close()


# -- on disk -------------------------------------------------------------------------------------------------------------


def spool(folder: Path, max_bytes: int = 1 << 20) -> Spool:
    return Spool(folder, max_bytes, "drop_oldest")


def test_the_next_spool_goes_on_after_what_was_published(tmp_path: Path) -> None:
    first = spool(tmp_path, 20_000)
    for number in range(100):
        first.append(document(number))
    batch = first.batch()
    assert batch is not None
    first.done(30)
    first.close()
    second = spool(tmp_path, 20_000)
    assert second.pending == 70
    second.append(document(100))
    following = second.batch()
    assert following is not None
    assert (following.publisher_id, following.first) == (batch.publisher_id, 31)
    assert drain(second) == [document(number) for number in range(30, 101)]
    second.close()
    assert not list(second.folder.glob("*.events"))
    third = spool(tmp_path, 20_000)
    third.append(document(101))
    last = third.batch()
    assert last is not None
    assert last.first == 102
    third.close()


@pytest.mark.parametrize("damage", [b"0123abcd {", b"\x00" * 50, b'00000000 {"number":9}\n'])
def test_a_line_that_a_crash_damaged_is_left_out(tmp_path: Path, damage: bytes) -> None:
    first = spool(tmp_path)
    first.append(document(0))
    first.close()
    (segment,) = first.folder.glob("*.events")
    with segment.open("ab") as file:
        file.write(damage)
    second = spool(tmp_path)
    second.append(document(1))
    assert drain(second) == [document(0), document(1)]
    second.close()


def test_a_lost_state_repeats_and_loses_nothing(tmp_path: Path) -> None:
    first = spool(tmp_path)
    first.append(document(0))
    first.append(document(1))
    first.done(1)
    first.close()
    (first.folder / "state").write_text("{")
    second = spool(tmp_path)
    assert drain(second) == [document(0), document(1)]
    second.close()


def test_processes_share_a_folder(tmp_path: Path) -> None:
    one, two = spool(tmp_path), spool(tmp_path)
    assert one.folder != two.folder
    two.append(document(0))
    one.close()
    two.close()
    heir = spool(tmp_path)
    assert heir.folder == two.folder, "the one with events in it comes first"
    assert drain(heir) == [document(0)]
    heir.close()


def test_a_disk_that_takes_nothing_drops_and_counts(tmp_path: Path) -> None:
    """A folder that is gone stands for a disk that fails."""
    buffer = spool(tmp_path, 1_600)
    buffer.append(document(0))
    (segment,) = buffer.folder.glob("*.events")
    segment.rename(tmp_path / "kept")
    buffer.folder.rename(tmp_path / "moved")
    buffer.append(document(1))
    assert (buffer.pending, buffer.dropped) == (1, 1)
    buffer.close()
