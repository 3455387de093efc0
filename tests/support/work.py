"""Children at work: what they send, and their processor time, which does not depend on other load of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from compute.sandbox.process import Child
from compute.sandbox.protocol import Report
from tests.support.waiting import wait_until


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, zero once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def work_until_the_end(child: Child) -> float:
    """Wait until a child has exited; return the processor time that it used meanwhile."""
    used = [processor_seconds(child.group)]

    def over() -> bool:
        used.append(processor_seconds(child.group))
        return child.exited.is_set()

    wait_until(over, lambda: f"its end; it says {list(child.lines)}", longest_pause_s=0.01)
    return max(used) - used[0]


def wait_until_sent(child: Child, wanted: Callable[[Report], bool], count: int = 1) -> None:
    """Wait until a child has sent `count` of the wanted messages; fail with its log if it exits before."""

    def sent() -> bool:
        over = child.exited.is_set()  # asked first: what it sent last counts
        enough = sum(map(wanted, [*child.said])) >= count
        assert enough or not over, list(child.lines)
        return enough

    wait_until(sent, lambda: f"a message; it says {list(child.lines)}", longest_pause_s=0.01)


def wait_until_at_work(child: Child, workdir: Path) -> None:
    """Wait until a fake child has written its file `ready`; fail with its log if it exits before."""

    def ready() -> bool:
        over = child.exited.is_set()
        at_work = (workdir / "ready").exists()
        assert at_work or not over, list(child.lines)
        return at_work

    wait_until(ready, lambda: f"the child is at work; it says {list(child.lines)}")
