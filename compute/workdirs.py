"""Work folders of attempts. What a child left there is taken only as plain files: never through a link."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from compute.kinds import BadOutput


class NotPlain(BadOutput):
    """The child left something other than plain files and folders."""


def make(workdir: Path) -> None:
    """Make an empty work folder; leftovers of the same name are removed."""
    remove(workdir)
    workdir.mkdir(parents=True, mode=0o700)
    for name in ("in", "out"):
        (workdir / name).mkdir()


def remove(folder: Path) -> None:
    """Remove a folder and everything in it; nothing happens when it is not there."""
    shutil.rmtree(folder, ignore_errors=True)


def only_plain_files(folder: Path) -> None:
    """Raise NotPlain when the folder holds a link, a device, a pipe or a file with a second name."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            found = path.lstat()
            if not (stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)):
                raise NotPlain(f"{path.relative_to(folder)} is not a plain file")


def copy_checkpoint(workdir: Path, step: int) -> Path | None:
    """Copy `checkpoint/` beside the work folder, out of the child's reach; None when it cannot be taken whole.

    The child replaces the folder while it trains, so a copy that met a replacement is tried again.
    """
    target = workdir.parent / f"{workdir.name}-checkpoint-{step}"
    for _ in range(5):
        remove(target)
        try:
            shutil.copytree(workdir / "checkpoint", target, symlinks=True)
            only_plain_files(target)
        except NotPlain:
            break
        except (OSError, shutil.Error):
            continue
        return target
    remove(target)
    return None
