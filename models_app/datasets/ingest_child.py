"""Run the sandboxed child that reads one upload, and classify its end: success, a fault of the file, or ours."""

from __future__ import annotations

import errno
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings

from compute.procfs import group_use
from compute.sandbox import sandbox, workdirs
from compute.sandbox.process import Child, Slot
from compute.sandbox.protocol import Fault, Layers, Report
from models_app.runner_protocol import EXIT_INPUT, EXIT_OK
from models_app.tables.limits import MIB

ENTRYPOINT = Path(__file__).resolve().parents[1] / "runner" / "main.py"
CPU_S = 120.0
CPU_S_MIB = 1.2
"""Processor seconds allowed per file, plus this much for each MiB beyond FREE_MIB. Measured in the child, so that a
busy machine reads the same files."""

WALL_S = 600.0
WALL_S_MIB = 6.0
FREE_MIB = 50
FOLDER_S = 1.0
"""Interval of the checks of its folder."""

MEMORY_BYTES = 1024**3
NO_ROOM_BYTES = 64 * MIB
FROM_OUTSIDE = frozenset({-signal.SIGKILL, -signal.SIGTERM})


class ChildKilled(RuntimeError):
    """The child was killed from outside, or this host could not run it; a retry may succeed."""


class ChildCrashed(RuntimeError):
    """The child crashed by itself, and will crash again on the same file."""


def run_child(
    workdir: Path,
    *,
    target: str,
    filename: str = "",
    choices: Mapping[str, Any] | None = None,
    writing: Mapping[str, Any] | None = None,
) -> Fault | None:
    """Run the child to its end; return the fault of the file, or None if it was read.

    `choices`: a person's choices for columns, by name (`tables/columns/contract.py`); `writing`: for the file
    (`tables/writing.py`). Running out of memory or time with every reader is the file's fault. Raises ChildCrashed,
    ChildKilled, and OSError if it crashed on a full disk.
    """
    attempt = str(uuid4())
    payload = {
        "attempt": attempt,
        "task": "ingest",
        "inputs": {
            "target": target or None,
            "named_parquet": filename.lower().endswith(".parquet"),
            "choices": dict(choices or {}),
            "writing": dict(writing or {}),
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
    received: dict[type[Report], Report] = {}
    wall, processor = WALL_S + WALL_S_MIB * more, CPU_S + CPU_S_MIB * more
    stop_at, look_at = time.monotonic() + wall, time.monotonic() + FOLDER_S
    try:
        while not child.exited.wait(0.05):
            _listen(child, received)
            fault = _too_much(child.group, stop_at, wall, processor)
            if fault is not None:
                return fault
            if time.monotonic() >= look_at:
                if (left := workdirs.excess(workdir, child.group)) is not None:
                    raise ChildCrashed(f"it left {left}")
                look_at = time.monotonic() + FOLDER_S
    finally:
        child.kill()
    reported = _listen(child, received).get(Fault)
    if child.exit_code == EXIT_INPUT and isinstance(reported, Fault):
        return reported
    if child.exit_code == EXIT_OK:
        return None
    words = [*list(child.lines)[-5:], *([reported.message] if isinstance(reported, Fault) else [])]
    how = f"exit code {child.exit_code}: {' | '.join(words)}"
    if _ended_by_others(child, received.get(Layers)):
        raise ChildKilled(how)
    if shutil.disk_usage(workdir).free < NO_ROOM_BYTES:  # whatever it reported, the disk was full
        raise OSError(errno.ENOSPC, how)
    raise ChildCrashed(how)


def _listen(child: Child, received: dict[type[Report], Report]) -> dict[type[Report], Report]:
    """Keep the child's newest fault and its first report of sandbox layers; later reports come from the untrusted part."""
    while child.said:
        said = child.said.popleft()
        if isinstance(said, Fault) or type(said) not in received:
            received[type(said)] = said
    return received


def _ended_by_others(child: Child, said: Report | None) -> bool:
    """Return whether it was killed or never started to read. After lockdown the child itself chooses its exit code."""
    layers = said.missing if isinstance(said, Layers) else None
    if child.exit_code == sandbox.EXIT_REFUSED:
        return layers is None or (bool(layers) and settings.EXCHEQUER.sandbox == "required")
    return child.exit_code in FROM_OUTSIDE and sandbox.CALLS not in (layers or ())


def _too_much(process: int, stop_at: float, wall: float, processor: float) -> Fault | None:
    seconds, resident = group_use(process)
    if resident > MEMORY_BYTES:
        return Fault(
            "too_big_unpacked", "The file needs more memory than an upload may use. Use fewer rows or columns."
        )
    if seconds > processor:
        return Fault(
            "too_slow",
            f"The file takes more than {processor:.0f} seconds of a processor to read. Use fewer rows or columns, or use Parquet.",
        )
    if time.monotonic() > stop_at:
        return Fault(
            "too_slow",
            f"The file could not be read within {wall / 60:.0f} minutes. Upload it again when the system is less busy, or use fewer rows or columns.",
        )
    return None
