"""Processor time of a process, which does not depend on other load of the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

from compute.sandbox.process import Child


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, zero once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def work_until_the_end(child: Child, seconds: float = 120) -> float:
    """Wait until a child has exited; return the processor time that it used meanwhile."""
    before = most = processor_seconds(child.group)
    give_up = time.monotonic() + seconds
    while not child.exited.wait(0.01):
        assert time.monotonic() < give_up, list(child.lines)
        most = max(most, processor_seconds(child.group))
    return most - before
