"""The spool: one record a batch, on disk before the batch's answers leave; what PostgreSQL learns, it learns from here.

Segments of lines `crc32 json`, named `<boot>.<number>`, appended by one thread that writes and syncs everything that
waits at once. A write that fails (disk full) is taken back to the last synced record and its batches are refused. A
torn tail, which only a crash leaves, was never promised to anybody: it is dropped. `<boot>.done` says how far a boot's
records are accounted for; writing it late is harmless, since each record counts once by its key.
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

Told = Callable[[bool], None]
"""Called once with whether the record is safely on disk."""


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
    """Return a line's record, None for one that is torn or was changed."""
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
        self._queue: queue.SimpleQueue[tuple[bytes, Told] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def append(self, record: dict[str, Any], told: Told, *, here: bool = False) -> None:
        """Record a batch; `told(True)` once it is synced, `told(False)` when it could not be and will not be read.

        `here`: the caller has nothing better to do than to wait, so it writes by itself unless the thread does now.
        """
        line = encode(record)
        if here and self._turn.acquire(blocking=False):
            try:
                safe = self._commit(line, 1)
            finally:
                self._turn.release()
            _tell(told, safe)
        else:
            self._queue.put((line, told))

    def stop(self) -> None:
        """Write what waits and end."""
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
                for _, told in group:
                    _tell(told, safe)
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
        """Have a sound segment open: the current one, or the next when it is full."""
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
        """Cut off what a failed write left behind; making a file shorter needs no room."""
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
    """Reads one boot's records in order, from where they are accounted for."""

    def __init__(self, folder: Path, boot: UUID) -> None:
        self.folder = folder
        self.boot = boot
        self.place = _done(folder, boot)

    def read(self, until: SpoolPosition | None = None, most: int = 2000) -> tuple[list[dict[str, Any]], SpoolPosition]:
        """Return records after the reader's place and the place behind them.

        `until` bounds a spool that is being written; without it, it is whole and its torn tail is dropped.
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
        """Remember that everything before `place` is accounted for; remove segments that are wholly behind it."""
        if place == self.place:
            return
        self.place = place
        for number, path in segments(
            self.folder, self.boot
        ):  # first, for on a full disk it makes the room for the note
            if number < place.segment:
                path.unlink(missing_ok=True)
        note = self.folder / f"{self.boot}.done"
        partial = note.with_suffix(".part")
        try:
            partial.write_bytes(orjson.dumps([place.segment, place.offset]))
            partial.replace(note)
        except OSError as error:  # what is behind the old note is read again after a crash, and counts once
            log.warning("spool.note_not_written", error=str(error))

    def forget(self) -> None:
        """Remove everything of this boot: all of it is accounted for."""
        for _, path in segments(self.folder, self.boot):
            path.unlink(missing_ok=True)
        (self.folder / f"{self.boot}.done").unlink(missing_ok=True)


def boots(folder: Path) -> list[UUID]:
    """Return the boots that left segments in a folder, or held money without answering anything."""
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
    """Return the bytes that lie in a folder's segments, accounted for or not."""
    found = 0
    for path in folder.iterdir():
        if _NAME.match(path.name):
            with suppress(FileNotFoundError):  # accounted for, and so removed, since it was listed
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


def _tell(told: Told, safe: bool) -> None:
    """Tell, whatever that does: who hears it must not end the thread, nor make a record that is safe look lost."""
    try:
        told(safe)
    except Exception:
        log.exception("spool.not_told", safe=safe)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
