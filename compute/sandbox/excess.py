"""Resource limits of a child: memory, threads and disk of its device and folder. Empty if it keeps within."""

from __future__ import annotations

from pathlib import Path

from compute import limits, procfs
from compute.sandbox import workdirs
from compute.sandbox.process import Slot


def of_threads(slot: Slot, group: int) -> str:
    """Return the message for too many threads, or empty."""
    most = limits.most_threads(slot.threads)
    return f"It started more than {most} threads." if procfs.threads(group) > most else ""


def of_memory_or_disk(slot: Slot, memory_bytes: int, workdir: Path, group: int) -> str:
    """Return the message for more host memory or disk than the device or folder may have; else empty."""
    most = limits.CHILD_ADDRESS_SPACE * 1.0
    if slot.kind == "cpu":
        most = min(slot.memory_bytes, most) * limits.MEMORY_SHARE_THAT_IS_FULL
    if memory_bytes > most:
        return "It used more memory than its device offers."
    left = workdirs.excess(workdir, group)
    return f"It left too much in its work folder: {left}." if left else ""
