"""Events that wait to be published, on disk: they outlive the process.

A spool is a folder with one numbered subfolder per process that publishes, locked while the process lives. A new process
takes one that nobody holds, those with events in them first, so what a killed process left behind is published by its
successor. In a subfolder:

    00000000000000000001.events   a segment: one line per event, `<crc32> <JSON>`; its name is the number of the first event
    state                         `{"id": …, "sent": n}`: who publishes, and up to which event it has
    lock

Segments are only ever appended to, and removed as a whole. A line that was cut off by a crash is removed at the next start.
"""

import fcntl
import itertools
import json
import logging
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from workflow_events.buffer import BATCH_BYTES, BATCH_EVENTS, Batch, OnFull, new_publisher_id

log = logging.getLogger("workflow_events")

_SUFFIX: Final = ".events"
_STATE: Final = "state"

#: A spool has about this many segments when it is full, so that dropping the oldest one drops a small part.
_SEGMENTS: Final = 16


@dataclass(slots=True)
class _Segment:
    """One file. `first` is the number of its first event, `size` its bytes."""

    path: Path
    first: int
    events: int = 0
    size: int = 0

    @property
    def last(self) -> int:
        return self.first + self.events - 1


class Spool:
    """A buffer on disk, as `workflow_events.buffer.Buffer` says.

    folder:    made when it is not there; several processes may share it
    max_bytes: bound of this process's part
    fsync:     make every event survive a failure of the machine too, at the price of a disk write for each
    """

    def __init__(self, folder: Path, max_bytes: int, on_full: OnFull, *, fsync: bool = False) -> None:
        self.dropped = 0
        self._folder, self._lock = _claim(folder)
        self._max_bytes = max_bytes
        self._on_full = on_full
        self._fsync = fsync
        self._segments = deque(_load(self._folder))
        self._id, self._sent = self._read_state()
        self._next = max([self._sent, *(segment.last for segment in self._segments)]) + 1
        self._active: int | None = None
        # Where the first segment's oldest event that waits begins, and where the batch that was handed out ends.
        self._begin = self._end = 0
        self._find_begin()

    @property
    def folder(self) -> Path:
        """The subfolder of this process."""
        return self._folder

    @property
    def pending(self) -> int:
        return self._next - 1 - self._sent

    # -- adding ---------------------------------------------------------------------------------------------------------

    def append(self, document: bytes) -> None:
        line = _line(document)
        if not self._make_room(len(line)):
            self.dropped += 1
            return
        try:
            self._write(line)
        except OSError as error:
            self.dropped += 1
            log.error("an event could not be written to the spool %s: %s", self._folder, error)
            return
        self._next += 1

    def _make_room(self, size: int) -> bool:
        """Whether an event of this size may be added, after older ones were dropped for it."""
        if size > self._max_bytes:
            return False
        while self._segments and sum(segment.size for segment in self._segments) + size > self._max_bytes:
            if self._on_full == "drop_newest" and self.pending:
                return False
            oldest = self._segments[0]
            self.dropped += max(0, oldest.last - self._sent)
            self._sent = max(self._sent, oldest.last)
            self._remove_oldest()
        return True

    def _write(self, line: bytes) -> None:
        segment, file = self._writable(len(line))
        try:
            written = os.write(file, line)
            while written < len(line):
                written += os.write(file, line[written:])
            if self._fsync:
                os.fsync(file)
        except OSError:
            os.ftruncate(file, segment.size)
            raise
        segment.events += 1
        segment.size += len(line)

    def _writable(self, size: int) -> tuple[_Segment, int]:
        """The segment that is written to, and its file; new ones when it is full."""
        if self._active is not None and self._segments[-1].size + size > self._max_bytes // _SEGMENTS:
            self._close_active()
        if self._active is None:
            path = self._folder / f"{self._next:020d}{_SUFFIX}"
            self._active = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._segments.append(_Segment(path, self._next))
        return self._segments[-1], self._active

    def _close_active(self) -> None:
        if self._active is not None:
            os.close(self._active)
            self._active = None

    # -- publishing -----------------------------------------------------------------------------------------------------

    def batch(self) -> Batch | None:
        if not self.pending:
            return None
        # The one that was written to may have been published whole before the next one was begun.
        self._remove_sent()
        documents: list[bytes] = []
        self._end = self._begin
        with self._segments[0].path.open("rb") as file:
            file.seek(self._begin)
            for line in file:
                if documents and self._end + len(line) - self._begin > BATCH_BYTES:
                    break
                documents.append(_document(line))
                self._end += len(line)
                if len(documents) == BATCH_EVENTS:
                    break
        return Batch(self._id, self._sent + 1, documents)

    def done(self, last: int) -> None:
        if last <= self._sent:
            return  # Dropped meanwhile.
        self._sent, self._begin = last, self._end
        self._write_state()
        self._remove_sent()

    def close(self) -> None:
        self._close_active()
        self._remove_sent()
        os.close(self._lock)

    def _remove_sent(self) -> None:
        """Remove segments that are published whole. The one that is written to stays until it is full."""
        while self._segments and self._segments[0].last <= self._sent:
            if len(self._segments) == 1 and self._active is not None:
                return
            self._remove_oldest()

    def _remove_oldest(self) -> None:
        if len(self._segments) == 1:
            self._close_active()
        self._segments.popleft().path.unlink(missing_ok=True)
        self._begin = 0

    # -- starting -------------------------------------------------------------------------------------------------------

    def _find_begin(self) -> None:
        """Pass over what an earlier process has published."""
        self._remove_sent()
        if self._segments:
            segment = self._segments[0]
            with segment.path.open("rb") as file:
                self._begin = sum(len(next(file)) for _ in range(segment.first, self._sent + 1))

    def _read_state(self) -> tuple[str, int]:
        """Who publishes, and the number of the last event that is published."""
        first = self._segments[0].first if self._segments else 1
        try:
            state = json.loads((self._folder / _STATE).read_bytes())
            return str(state["id"]), max(int(state["sent"]), first - 1)
        except (OSError, ValueError, KeyError, TypeError):
            return new_publisher_id(), first - 1

    def _write_state(self) -> None:
        new = self._folder / f"{_STATE}.new"
        new.write_text(json.dumps({"id": self._id, "sent": self._sent}))
        new.replace(self._folder / _STATE)


def _claim(folder: Path) -> tuple[Path, int]:
    """A subfolder that no other process holds, and the open lock on it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for slot in _slots(folder):
        slot.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(slot / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return slot, lock
        except BlockingIOError:
            os.close(lock)
    raise AssertionError("the numbers do not end")


def _slots(folder: Path) -> Iterator[Path]:
    """Subfolders: those with events, then those without, then new ones."""
    there = sorted((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
    yield from (path for path in there if any(path.glob(f"*{_SUFFIX}")))
    yield from (folder / str(number) for number in itertools.count())


def _load(folder: Path) -> Iterator[_Segment]:
    """The segments that an earlier process left, oldest first, without lines that a crash has damaged."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        good = [line for line in lines if _is_whole(line)]
        if len(good) < len(lines):
            log.warning("%d damaged lines in %s are left out", len(lines) - len(good), path)
            new = path.with_suffix(".new")
            new.write_bytes(b"".join(good))
            new.replace(path)
        yield _Segment(path, int(path.stem), len(good), sum(map(len, good)))


def _line(document: bytes) -> bytes:
    return b"%08x %s\n" % (crc32(document), document)


def _document(line: bytes) -> bytes:
    return line[9:-1]


def _is_whole(line: bytes) -> bool:
    return line == _line(_document(line))
