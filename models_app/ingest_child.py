"""Run the sandboxed child that reads one upload, and tell how it ended: well, by the file's fault, or by ours."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings

from compute import sandbox, workdirs
from compute.process import Child, Slot
from compute.protocol import Fault, Layers
from models_app.datasets.limits import MIB
from models_app.runner.protocol import EXIT_INPUT, EXIT_OK

ENTRYPOINT = Path(__file__).with_name("runner") / "main.py"
CPU_S = 120.0
CPU_S_MIB = 1.2
"""What a file may cost, and what each MiB beyond FREE_MIB adds, in the child's own processor time: on a busy machine the
same files are read."""

WALL_S = 600.0
WALL_S_MIB = 6.0
FREE_MIB = 50
FOLDER_S = 1.0
"""How often its folder is looked at."""

MEMORY_BYTES = 1024**3
NO_ROOM_BYTES = 64 * MIB
FROM_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM})
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


class ChildKilled(RuntimeError):
    """The child was ended from outside, or this host could not run it: the next time it may do."""


class ChildCrashed(RuntimeError):
    """The child went down by itself, as it will do again with the same file."""


def run_child(
    workdir: Path, *, target: str, filename: str = "", choices: Mapping[str, Any] | None = None
) -> Fault | None:
    """Run the child to its end; return what is wrong with the file, None when all is well.

    `choices`: what a person chose of the columns, by name (`datasets/contract.py`).
    A file that takes too much memory or time in every way is the file's fault. Raises ChildCrashed, ChildKilled, and
    OSError when it crashed on a disk without room.
    """
    attempt = str(uuid4())
    payload = {
        "attempt": attempt,
        "task": "ingest",
        "inputs": {
            "target": target or None,
            "named_parquet": filename.lower().endswith(".parquet"),
            "choices": dict(choices or {}),
        },
        "device": {"kind": "cpu"},
        "threads": 1,
        "limits": {"upload_bytes": settings.EXCHEQUER.max_upload_mb * MIB},
    }
    slot = Slot(kind="cpu", uuid="ops", index=0, threads=1, memory_bytes=MEMORY_BYTES)
    child = Child(
        entrypoint=ENTRYPOINT, attempt=attempt, workdir=workdir, slot=slot, payload=payload,
        sandbox_required=settings.EXCHEQUER.sandbox == "required",
    )  # fmt: skip
    source = workdir / "in" / "source"
    more = max(0.0, (source.stat().st_size if source.exists() else 0) / MIB - FREE_MIB)
    wall, processor = WALL_S + WALL_S_MIB * more, CPU_S + CPU_S_MIB * more
    stop_at, look_at = time.monotonic() + wall, time.monotonic() + FOLDER_S
    try:
        while not child.exited.wait(0.05):
            fault = _too_much(child.group, stop_at, wall, processor)
            if fault is not None:
                return fault
            if time.monotonic() >= look_at:
                if (left := workdirs.excess(workdir, child.group)) is not None:
                    raise ChildCrashed(f"it left {left}")
                look_at = time.monotonic() + FOLDER_S
    finally:
        child.kill()
    faults = [said for said in child.said if isinstance(said, Fault)]
    if child.exit_code == EXIT_INPUT and faults:
        return faults[-1]
    if child.exit_code == EXIT_OK:
        return None
    told = [*list(child.lines)[-5:], *(fault.message for fault in faults)]
    how = f"exit code {child.exit_code}: {' | '.join(told)}"
    if _ended_by_others(child):
        raise ChildKilled(how)
    if shutil.disk_usage(workdir).free < NO_ROOM_BYTES:  # whatever it said, there was no room for it
        raise OSError(errno.ENOSPC, how)
    raise ChildCrashed(how)


def _ended_by_others(child: Child) -> bool:
    """Return whether it was killed, or never came to read: an exit code is its own choice once it has locked itself down."""
    layers = next((said.missing for said in child.said if isinstance(said, Layers)), None)
    if child.exit_code == sandbox.EXIT_REFUSED:
        return layers is None or (bool(layers) and settings.EXCHEQUER.sandbox == "required")
    return child.exit_code in FROM_OUTSIDE and sandbox.CALLS not in (layers or ())


def _too_much(process: int, stop_at: float, wall: float, processor: float) -> Fault | None:
    seconds, resident = _use(process)
    if resident > MEMORY_BYTES:
        return Fault(
            "too_big_unpacked", "The file needs more memory than an upload may use. Take fewer rows or columns."
        )
    if seconds > processor:
        return Fault(
            "too_slow",
            f"The file takes more than {processor:.0f} seconds of a processor to read. Take fewer rows or columns, or use Parquet.",
        )
    if time.monotonic() > stop_at:
        return Fault(
            "too_slow",
            f"The file could not be read within {wall / 60:.0f} minutes. Upload it again when less is going on, or take fewer rows or columns.",
        )
    return None


def _use(process: int) -> tuple[float, int]:
    """Return (processor seconds, resident bytes) of a process, its threads among them; nothing once it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0.0, 0
