"""Processes of this machine through `/proc`: running ones, their children, and how to stop them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

#: PostgreSQL's fast shutdown: it disconnects clients and writes a checkpoint.
FAST_SHUTDOWN = signal.SIGINT
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def alive(pid: int) -> bool:
    """Return whether `pid` is running (a zombie is not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {"Z", "X"}


def runs(pid: int, argument: str) -> bool:
    """Return whether `pid` is running with `argument` in its command line (or inside its title)."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return alive(pid) and os.fsencode(argument) in words


def children(parent: int) -> list[int]:
    """Return the process ids whose parent is `parent`."""
    return _by_parent().get(parent, [])


def descendants(root: int) -> list[int]:
    """Return the process ids below `root`, parents before children."""
    known = _by_parent()
    found, open_list = [], [root]
    while open_list:
        below = known.get(open_list.pop(0), [])
        found += below
        open_list += below
    return found


def _by_parent() -> dict[int, list[int]]:
    known: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in {"Z", "X"}:
                known.setdefault(int(fields[1]), []).append(int(entry.name))
    return known


def stop(pid: int, number: int, seconds: float) -> None:
    """Send `number` to `pid` and wait until it is gone, at most `seconds`."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)


def adopt_orphans() -> None:
    """Make this process the parent of orphaned descendants, so that none escapes the stop."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Make the kernel send `number` to this process when its parent ends. Call it after a change of user."""
    _prctl(_PR_SET_PDEATHSIG, number)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
