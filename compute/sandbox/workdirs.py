"""Work folders of attempts. The child's output is taken by descriptor, as plain files, never through a link.

The child may still run and change its folder at any moment, so no path is resolved twice: each file is opened once,
checked by its descriptor, and copied from that descriptor out of the child's reach.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compute import limits
from compute.kinds import BadOutput
from compute.sandbox import folders

MOST_FILES = 32
OUTPUT_BYTES = limits.CHILD_FILE_BYTES
CHECKPOINT_BYTES = 1024**3
_CHUNK = 1024**2
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_PLAIN = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EACCES, errno.EPERM}


def disk_full(error: BaseException) -> bool:
    """Return whether the error means that the host's disk is full."""
    return isinstance(error, OSError) and error.errno in _FULL


class NotPlain(BadOutput):
    """The child left something other than a few plain files of bounded size."""


def make(workdir: Path) -> None:
    """Create an empty work folder; leftovers of the same name are removed. Raises OSError if they cannot be."""
    remove(workdir)
    workdir.mkdir(parents=True, mode=0o700)
    for name in ("in", "out"):
        (workdir / name).mkdir()


def lay_out(folder: Path, given: Path, checkpoint: Path | None, *, again: bool) -> None:
    """Make a rank's folder with the input and the checkpoint; `again`: it ran, and keeps its own input."""
    if again:
        for name in ("out", "checkpoint", "tmp"):
            folders.remove(folder / name)
        (folder / "out").mkdir()
    else:
        make(folder)
        shutil.copytree(given, folder / "in", dirs_exist_ok=True)
    if checkpoint is not None:
        shutil.copytree(checkpoint, folder / "checkpoint")


def remove(folder: Path) -> None:
    """Remove a folder, its contents and copies taken of it; what cannot be removed is logged and stays."""
    for each in (folder, _taken(folder)):
        folders.remove(each)


def clear(home: Path) -> None:
    """Empty the parent folder of a node's work folders, one by one; create it if missing."""
    home.mkdir(parents=True, exist_ok=True)
    folders.clear(home)


def _taken(workdir: Path) -> Path:
    return workdir.with_name(f"{workdir.name}-taken")


def take_output(workdir: Path) -> Path:
    """Copy `out/` out of the child's reach; return a folder beside the work folder that contains the copy as `out/`.

    Raises NotPlain if it holds anything else than plain files, or nothing; OSError if the disk is full, unless the
    child exceeded the quota of its own folder.
    """
    taken = _taken(workdir)
    taken.mkdir(mode=0o700)
    try:
        _take(workdir, "out", taken / "out", OUTPUT_BYTES)
    except FileNotFoundError as error:
        raise NotPlain("the output went away while it was read") from error
    except OSError as error:
        if disk_full(error) and excess(workdir) is not None:
            raise NotPlain("it filled the disk with more files than it may leave") from error
        raise
    return taken


def excess(workdir: Path, process: int | None = None) -> str | None:
    """Return as text how a child exceeded its quota of files, depth and bytes; None if it keeps within.

    The bytes are those of its output and of a checkpoint beside the one that it replaces.
    """
    return folders.excess(workdir, OUTPUT_BYTES + 2 * CHECKPOINT_BYTES, process)


def copy_checkpoint(workdir: Path, step: int) -> Path | None:
    """Copy `checkpoint/` beside the work folder, out of the child's reach; None if it cannot be copied whole.

    The child replaces the folder while it trains, so a copy interrupted by a replacement is tried again. Raises OSError
    if the disk is full.
    """
    target = workdir.parent / f"{workdir.name}-checkpoint-{step}"
    for _ in range(5):
        remove(target)
        try:
            _take(workdir, "checkpoint", target, CHECKPOINT_BYTES)
        except NotPlain:
            break
        except OSError as error:
            if disk_full(error):
                remove(target)
                raise
            continue
        return target
    remove(target)
    return None


def _take(workdir: Path, name: str, target: Path, most: int) -> None:
    """Copy the files of one folder; raises NotPlain for permanent faults, OSError if it was replaced meanwhile."""
    target.mkdir(mode=0o700)
    with _opened(workdir, None) as home, _opened(name, home) as folder:
        if not stat.S_ISDIR(os.fstat(folder).st_mode):
            raise NotPlain(f"{name} is not a folder")
        with os.scandir(folder) as found:
            names = [entry.name for entry in itertools.islice(found, MOST_FILES + 1)]
        if len(names) > MOST_FILES:
            raise NotPlain(f"{name} holds more than {MOST_FILES} files")
        left = most
        for file in names:
            left -= _copy(folder, file, target / file, left)
        if os.stat(name, dir_fd=home, follow_symlinks=False).st_ino != os.fstat(folder).st_ino:
            raise FileNotFoundError(f"{name} was replaced")


def _copy(folder: int, name: str, target: Path, most: int) -> int:
    """Copy one file of at most `most` bytes; return its size."""
    copied = 0
    with _opened(name, folder) as source, target.open("xb") as file:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise NotPlain(f"{name!a} is not a plain file")
        if found.st_size > most:
            raise NotPlain(f"{name!a} is larger than it can be")
        while block := os.read(source, _CHUNK):
            copied += len(block)
            if copied > most:  # it grew meanwhile
                raise NotPlain(f"{name!a} is larger than it can be")
            file.write(block)
    return copied


@contextmanager
def _opened(path: Path | str, folder: int | None) -> Iterator[int]:
    try:
        handle = os.open(path, _OPEN, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_PLAIN:
            raise NotPlain(f"{str(path)!a} is not a plain file") from error
        raise
    try:
        yield handle
    finally:
        os.close(handle)
