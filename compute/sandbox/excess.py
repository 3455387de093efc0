"""What a child is killed for: more memory, threads or disk than its device and its folder offer. Empty when it keeps within."""

from __future__ import annotations

from pathlib import Path

from compute import limits, procfs
from compute.sandbox import workdirs
from compute.sandbox.process import Slot


def of_threads(slot: Slot, group: int) -> str:
    """Say that it has more threads than it may."""
    most = limits.most_threads(slot.threads)
    return f"It started more than {most} threads." if procfs.threads(group) > most else ""


def of_memory_or_disk(slot: Slot, memory_bytes: int, workdir: Path, group: int) -> str:
    """Say that it takes more of the host's memory than its device offers, or more of the disk than its folder may hold."""
    most = limits.CHILD_ADDRESS_SPACE * 1.0
    if slot.kind == "cpu":
        most = min(slot.memory_bytes, most) * limits.MEMORY_SHARE_THAT_IS_FULL
    if memory_bytes > most:
        return "It used more memory than its device offers."
    left = workdirs.excess(workdir, group)
    return f"It left more in its work folder than it may: {left}." if left else ""
