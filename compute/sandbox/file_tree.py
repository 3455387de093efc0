"""The child's own file tree: an empty one, into which only permitted paths are bound.

Landlock restricts opening files, not looking up names. A tree without other names has nothing to look up: no size, time
or existence of other files, and nothing to watch.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from compute.sandbox import kernel

_NOSUID, _NODEV, _READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 2, 4, 1, 32, 4096, 16384, 1 << 18
_MOST_LINKS = 40


def enter(paths: Iterable[Path], workdir: Path) -> None:
    """Enter a tree that contains only `paths` and the work folder, under their names; raises OSError.

    Missing paths are skipped, links resolve as before. The tree itself is read-only. It is mounted on a folder that is
    not needed otherwise: Landlock checks the parents of a file across mounts, and must find nothing permitted there.
    """
    named = list(paths)
    root = _unneeded([workdir, *(path.resolve() for path in named)])
    kernel.unshare(kernel.CLONE_NEWNS)
    with contextlib.suppress(OSError):  # in a chroot `/` is not a mount
        kernel.mount(None, "/", None, _RECURSIVE | _PRIVATE)
    kernel.mount("tmpfs", str(root), "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    try:
        _furnish(root, named, workdir)
        os.chroot(root)
    except OSError:
        kernel.umount(str(root), kernel.MNT_DETACH)
        raise
    os.chdir(workdir)


def _unneeded(places: list[Path]) -> Path:
    tops = {name for place in places for name in place.parts[1:2]}
    for name in ("mnt", "media", "srv", "boot", "home", "opt", "run", "var", "tmp"):
        found = Path("/", name)
        if name not in tops and found.is_dir() and not found.is_symlink():
            return found
    raise OSError("every folder is needed")


def _furnish(root: Path, paths: Iterable[Path], workdir: Path) -> None:
    """Bind everything into the new tree, then make it read-only."""
    if _shared(root):
        raise OSError("what is mounted here would be seen outside")
    places = {place for path in paths for place in _resolve(root, path)}
    bound: set[Path] = set()
    for place in sorted(places):  # a folder before its contents
        if bound.isdisjoint(place.parents):
            bound.add(place)
            _bind(root, place)
    if bound.isdisjoint(workdir.parents):
        _bind(root, workdir)
    kernel.mount(None, str(root), None, _REMOUNT | _READ_ONLY | _NOSUID | _NODEV)


def _shared(place: Path) -> bool:
    """Return whether a mount propagates events; its own line names its path as fifth field."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = [fields for fields in lines if fields[4] == str(place)]
    return not found or any(field.startswith("shared:") for field in found[-1][6 : found[-1].index("-")])


def _resolve(root: Path, path: Path) -> list[Path]:
    """Create the links on the way to `path` in the new tree; return their targets, empty if it does not exist."""
    links = 0
    done, left = Path("/"), list(path.parts[1:])
    while left:
        part = left.pop(0)
        if part == "..":
            done = done.parent
            continue
        here = done / part
        if not here.is_symlink():
            done = here
            continue
        links += 1
        if links > _MOST_LINKS:
            return []
        target = os.readlink(here)
        copy = root / here.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.is_symlink():
            copy.symlink_to(target)
        left = [part for part in Path(target).parts if part != "/"] + left
        done = Path("/") if target.startswith("/") else done
    return [done] if done.exists() else []


def _bind(root: Path, place: Path) -> None:
    target = root / place.relative_to("/")
    if place.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    kernel.mount(str(place), str(target), None, _BIND | _RECURSIVE)
