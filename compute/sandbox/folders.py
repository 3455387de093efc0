"""Remove and measure folders filled by hostile code: by descriptor, without recursion and at any depth.

A path becomes too long for the kernel after a few hundred folders, and one call or one descriptor per level would run
out even sooner. So removal moves each deeper folder up to the top one, where it is emptied in turn: three descriptors
are open at a time, whatever the depth. No link is ever followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import structlog

from compute.limits import CHILD_FILE_BYTES
from compute.procfs import unnamed_bytes

MOST_ENTRIES = 10_000
MOST_DEPTH = 16
_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC

log = structlog.get_logger(__name__)


def remove(path: Path) -> bool:
    """Remove a folder and everything in it, or a file; return whether nothing is left. Never raises OSError.

    What cannot be removed is logged and stays: one bad folder must not block the removal of others, or a start.
    """
    try:
        parent = os.open(path.parent, os.O_PATH | _FOLDER)
    except FileNotFoundError:
        return True
    except OSError as error:
        return _stays(path, error)
    try:
        with contextlib.suppress(FileNotFoundError):
            if _is_folder_after_unlink(path.name, parent):
                with _opened(path.name, parent) as top:
                    _empty(top)
                os.rmdir(path.name, dir_fd=parent)
    except OSError as error:
        return _stays(path, error)
    finally:
        os.close(parent)
    return True


def clear(home: Path) -> int:
    """Remove everything in `home`, each entry independently; return how many could not be removed."""
    try:
        found = list(home.iterdir())
    except FileNotFoundError:
        return 0
    return [remove(path) for path in found].count(False)


def excess(folder: Path, most_bytes: int, process: int | None = None) -> str | None:
    """Return as text how a child exceeded the quota of its folder, None if it keeps within.

    Counts entries, depth and bytes on the disk; with `process` also deleted files that it has open or mapped. Stops
    counting at the first excess. Entries that vanish meanwhile are not counted.
    """
    entries, taken = 0, 0 if process is None else unnamed_bytes(process, folder, CHILD_FILE_BYTES)
    with contextlib.ExitStack() as opened, contextlib.suppress(FileNotFoundError):
        handles = [os.open(folder, os.O_RDONLY | _FOLDER)]
        opened.callback(_close, handles)
        levels = [opened.enter_context(os.scandir(handles[0]))]
        while levels:
            entry = next(levels[-1], None)
            if entry is None:
                levels.pop().close()
                os.close(handles.pop())
                continue
            try:
                entries, taken = entries + 1, taken + 512 * entry.stat(follow_symlinks=False).st_blocks
                if entries > MOST_ENTRIES:
                    return f"more than {MOST_ENTRIES:,} files and folders"
                if taken > most_bytes:
                    return f"more than {most_bytes // 1024**2:,} MB"
                if not entry.is_dir(follow_symlinks=False):
                    continue
                if len(levels) >= MOST_DEPTH:
                    return f"folders more than {MOST_DEPTH} deep"
                handles.append(os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | _FOLDER, dir_fd=handles[-1]))
                levels.append(opened.enter_context(os.scandir(handles[-1])))
            except PermissionError:
                return "a folder that cannot be read"
            except (FileNotFoundError, NotADirectoryError):
                continue
    return None


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)


def _stays(path: Path, error: OSError) -> bool:
    log.error("folder.not_removed", folder=str(path), error=str(error))
    return False


def _empty(top: int) -> None:
    """Remove the contents of an open folder. Raises the last OSError if some remain."""
    stuck: dict[str, OSError] = {}
    while left := [name for name in os.listdir(top) if name not in stuck]:
        for name in left:
            try:
                if _is_folder_after_unlink(name, top):
                    _flatten(name, top)
            except FileNotFoundError:
                continue
            except OSError as error:
                stuck[name] = error
    if stuck:
        raise list(stuck.values())[-1]


def _flatten(name: str, top: int) -> None:
    """Remove one folder of `top` and its files; its subfolders become folders of `top`, under new names."""
    problem: OSError | None = None
    with _opened(name, top) as folder:
        for each in os.listdir(folder):
            try:
                if _is_folder_after_unlink(each, folder):
                    with _opened(each, folder):  # without root, a folder must be writable to be moved
                        os.rename(each, uuid4().hex, src_dir_fd=folder, dst_dir_fd=top)
            except FileNotFoundError:
                continue
            except OSError as error:
                problem = error
    if problem is not None:
        raise problem
    os.rmdir(name, dir_fd=top)


def _is_folder_after_unlink(name: str, folder: int) -> bool:
    """Remove one name, unless it is a folder; return whether it is."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return True
    return False


@contextmanager
def _opened(name: str, folder: int) -> Iterator[int]:
    """Open a folder for listing and changing, even if it was created without those rights."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | _FOLDER, dir_fd=folder)
    try:
        if os.fstat(handle).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IRWXU)  # by descriptor, so never through a link
        listed = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | _FOLDER)
    finally:
        os.close(handle)
    try:
        yield listed
    finally:
        os.close(listed)
