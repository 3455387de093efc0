"""Confinement of a process that talks to servers of the internet and nothing on this machine: the fetcher.

Unlike the child of an attempt it may open network sockets. It reads only the listed folders, and neither opens a unix
socket (a database, a broker, a bus), nor starts a program, nor looks into another process.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from compute.sandbox import kernel, landlock, seccomp


def confine(read: Iterable[Path]) -> list[str]:
    """Confine this thread and those that it starts later, permanently; return what this machine lacks, in words."""
    lacking = []
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    try:
        landlock.restrict(read=read, write=(), network=True)
    except OSError as error:
        lacking.append(f"files are not restricted: {error}")
    try:
        seccomp.install_outward()
    except OSError as error:
        lacking.append(f"system calls are not filtered: {error}")
    return lacking
