"""Read /proc for a child. A process whose main thread ended before its others looks dead there, but is not."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_STATE, _GROUP, _USER_TICKS, _SYSTEM_TICKS, _THREADS, _RESIDENT = 0, 2, 11, 12, 17, 21
_DEAD = {"Z", "X"}
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def group_use(group: int) -> tuple[float, int]:
    """Return (processor seconds, resident bytes) of all living processes of a process group."""
    seconds, resident = 0.0, 0
    for pid in group_members(group):
        with contextlib.suppress(OSError):
            fields = _fields(Path(f"/proc/{pid}"))
            seconds += (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS
            if (task := living_task(pid)) is not None:
                resident += int(_fields(task)[_RESIDENT]) * _PAGE
    return seconds, resident


def group_members(group: int) -> list[int]:
    """Return the ids of the living processes of a process group, without zombies."""
    members = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = _fields(Path(entry.path))
        except OSError:
            continue
        if int(fields[_GROUP]) == group and (fields[_STATE] not in _DEAD or int(fields[_THREADS]) > 1):
            members.append(int(entry.name))
    return members


def threads(pid: int) -> int:
    """Return the number of threads of a process, 0 once it is gone."""
    try:
        return int(_fields(Path(f"/proc/{pid}"))[_THREADS])
    except OSError:
        return 0


def living_task(pid: int) -> Path | None:
    """Return the /proc path of a living thread of a process; None if none lives."""
    with contextlib.suppress(OSError):
        for number in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
            task = Path(f"/proc/{pid}/task/{number}")
            with contextlib.suppress(OSError):
                if _fields(task)[_STATE] not in _DEAD:
                    return task
    return None


def unnamed_bytes(pid: int, folder: Path, most: int) -> int:
    """Return the disk bytes of deleted files that a process keeps alive: open ones, and mapped ones of `folder`.

    A mapped file counts as `most` bytes if this process may not measure it, as is the case without root.
    """
    task, sizes = living_task(pid), dict[object, int]()
    if task is None:
        return 0
    with contextlib.suppress(OSError):
        for number in os.listdir(task / "fd"):
            with contextlib.suppress(OSError):
                found = os.stat(task / "fd" / number)
                if not found.st_nlink:
                    sizes[found.st_dev, found.st_ino] = 512 * found.st_blocks
    with contextlib.suppress(OSError):
        for place, named in _mapped(task, folder.name).items():
            try:
                found = os.stat(f"/proc/{pid}/map_files/{place}")
            except OSError:
                sizes[named] = most
            else:
                sizes[found.st_dev, found.st_ino] = 512 * found.st_blocks
    return sum(sizes.values())


def _mapped(task: Path, name: str) -> dict[str, str]:
    """Return one path of each deleted file that is mapped, with its device and number."""
    found: dict[str, str] = {}
    for line in (task / "maps").read_text(errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].endswith(" (deleted)") and name in fields[5]:
            found.setdefault(f"{fields[3]} {fields[4]}", fields[0])
    return {place: named for named, place in found.items()}


def _fields(folder: Path) -> list[str]:
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
