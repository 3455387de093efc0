"""The spool: one record per batch, on disk before the batch's responses are sent. All accounting is derived from it.

Segments hold lines `crc32 json` and are named `<boot>.<number>`. One thread appends, and writes and syncs all waiting
records at once. A failed write (disk full) is truncated to the last synced record and its batches are refused. A torn
tail, which only a crash leaves, was never acknowledged and is dropped. `<boot>.done` stores how far a boot is settled;
a stale value is harmless, since each record counts once by its key.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import structlog

log = structlog.get_logger(__name__)

SEGMENT_BYTES = 4 * 1024**2
_NAME = re.compile(r"([0-9a-f-]{36})\.(\d{8})\Z")
_LEFT = re.compile(r"([0-9a-f-]{36})\.(?:\d{8}|slices)\Z")

OnDurable = Callable[[bool], None]
"""Called once with whether the record is durable."""


@dataclass(frozen=True, order=True, slots=True)
class SpoolPosition:
    """A position in one boot's spool: everything before `offset` in `segment`, and all earlier segments."""

    segment: int = 0
    offset: int = 0


def encode(value: dict[str, Any]) -> bytes:
    """Return a record as one line."""
    text = orjson.dumps(value)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None if it is torn or altered."""
    try:
        if line[8:9] != b" " or not line.endswith(b"\n") or int(line[:8], 16) != zlib.crc32(line[9:-1]):
            return None
        found = orjson.loads(line[9:-1])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class Spool:
    """One boot's spool in a folder. `append` may be called by any thread."""

    def __init__(
        self,
        folder: Path,
        boot: UUID,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        self.folder = folder
        self.boot = boot
        self.synced = SpoolPosition()
        self.records = 0
        self._segment_bytes = segment_bytes
        self._write = write
        self._file = -1
        self._unsound = False
        self._turn = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[bytes, OnDurable] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start the writing thread."""
        self._thread.start()

    def append(self, record: dict[str, Any], on_durable: OnDurable, *, here: bool = False) -> None:
        """Record a batch; call `on_durable(True)` once it is synced, or `on_durable(False)` if it failed and will not be read.

        `here`: write in the calling thread if the writer is idle.
        """
        line = encode(record)
        if here and self._turn.acquire(blocking=False):
            try:
                safe = self._commit(line, 1)
            finally:
                self._turn.release()
            _call_back(on_durable, safe)
        else:
            self._queue.put((line, on_durable))

    def stop(self) -> None:
        """Write what waits and stop."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(5)

    def _run(self) -> None:
        ending = False
        while not ending:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            ending = None in waiting
            group = [item for item in waiting if item is not None]
            if group:
                with self._turn:
                    safe = self._commit(b"".join(line for line, _ in group), len(group))
                for _, on_durable in group:
                    _call_back(on_durable, safe)
        with self._turn:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _commit(self, lines: bytes, count: int) -> bool:
        try:
            self._open()
            rest = memoryview(lines)
            while rest:
                rest = rest[self._write(self._file, rest.tobytes()) :]
            os.fdatasync(self._file)
        except OSError as error:
            log.error("spool.write_failed", error=str(error), batches=count)
            self._unsound = True
            self._take_back()
            return False
        self.synced = SpoolPosition(self.synced.segment, self.synced.offset + len(lines))
        self.records += count
        return True

    def _open(self) -> None:
        """Ensure an intact open segment: the current one, or the next if it is full."""
        if self._unsound:
            self._take_back()
            if self._unsound:
                raise OSError("the spool's last write could not be taken back yet")
        if self._file >= 0 and self.synced.offset < self._segment_bytes:
            return
        number = self.synced.segment + 1
        path = self.folder / f"{self.boot}.{number:08d}"
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _sync_folder(self.folder)
        except OSError:
            os.close(opened)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self.synced = opened, SpoolPosition(number, 0)

    def _take_back(self) -> None:
        """Truncate what a failed write left; truncating needs no free space."""
        if self._file < 0:
            self._unsound = False
            return
        try:
            os.ftruncate(self._file, self.synced.offset)
            os.fsync(self._file)
        except OSError as error:
            log.error("spool.unsound", error=str(error))
        else:
            self._unsound = False


class Reader:
    """Reads the records of one boot in order, from where they are settled."""

    def __init__(self, folder: Path, boot: UUID) -> None:
        self.folder = folder
        self.boot = boot
        self.place = _done(folder, boot)

    def read(self, until: SpoolPosition | None = None, most: int = 2000) -> tuple[list[dict[str, Any]], SpoolPosition]:
        """Return the records after the current position, and the position behind them.

        `until` limits a spool that is still being written; without it the spool is complete and its torn tail is
        dropped.
        """
        found: list[dict[str, Any]] = []
        place = self.place
        for number, path in segments(self.folder, self.boot):
            if number < place.segment or (until is not None and number > until.segment):
                continue
            start = place.offset if number == place.segment else 0
            end = until.offset if until is not None and number == until.segment else None
            for line, offset in _lines(path, start, end):
                record = decode(line)
                if record is None:
                    log.error(
                        "spool.broken_record", segment=path.name, offset=offset - len(line), torn=line[-1:] != b"\n"
                    )
                else:
                    found.append(record)
                place = SpoolPosition(number, offset)
                if len(found) >= most:
                    return found, place
        return found, place

    def advance(self, place: SpoolPosition) -> None:
        """Store that everything before `place` is settled; remove segments wholly before it."""
        if place == self.place:
            return
        self.place = place
        for number, path in segments(self.folder, self.boot):  # first: on a full disk this makes room for the marker
            if number < place.segment:
                path.unlink(missing_ok=True)
        note = self.folder / f"{self.boot}.done"
        partial = note.with_suffix(".part")
        try:
            partial.write_bytes(orjson.dumps([place.segment, place.offset]))
            partial.replace(note)
        except OSError as error:  # records after the old marker are read again after a crash, and count once
            log.warning("spool.note_not_written", error=str(error))

    def forget(self) -> None:
        """Remove all files of this boot after everything is settled."""
        for _, path in segments(self.folder, self.boot):
            path.unlink(missing_ok=True)
        (self.folder / f"{self.boot}.done").unlink(missing_ok=True)


def boots(folder: Path) -> list[UUID]:
    """Return the boots with segments in a folder, or with money held and no records."""
    names = (_LEFT.match(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted({UUID(name[1]) for name in names if name})


def segments(folder: Path, boot: UUID) -> list[tuple[int, Path]]:
    """Return the segments of a boot in order."""
    found = []
    for path in folder.iterdir():
        name = _NAME.match(path.name)
        if name and name[1] == str(boot):
            found.append((int(name[2]), path))
    return sorted(found)


def backlog(folder: Path) -> int:
    """Return the size of a folder's segments in bytes, settled or not."""
    found = 0
    for path in folder.iterdir():
        if _NAME.match(path.name):
            with suppress(FileNotFoundError):  # settled and removed since it was listed
                found += path.stat().st_size
    return found


def _lines(path: Path, start: int, end: int | None) -> Iterator[tuple[bytes, int]]:
    with path.open("rb") as file:
        file.seek(start)
        at = start
        for line in file:
            at += len(line)
            if end is not None and at > end:
                return
            yield line, at


def _done(folder: Path, boot: UUID) -> SpoolPosition:
    try:
        segment, offset = orjson.loads((folder / f"{boot}.done").read_bytes())
        return SpoolPosition(int(segment), int(offset))
    except (OSError, ValueError, TypeError):
        return SpoolPosition()


def _call_back(on_durable: OnDurable, safe: bool) -> None:
    """Call back safely: an error in the callback must neither end the thread nor make a durable record look lost."""
    try:
        on_durable(safe)
    except Exception:
        log.exception("spool.not_told", safe=safe)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
