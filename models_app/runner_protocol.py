"""Protocol between the sandboxed child and its supervisor: JSON lines on stdout, logs on stderr, an exit code.

The parent reads one JSON object per line; everything that a library prints goes to stderr instead, so that it is never
taken for a message.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

EXIT_OK = 0
EXIT_CRASH = 1
EXIT_INPUT = 65
EXIT_DEVICE = 69
EXIT_STOPPED = 75


class InputError(Exception):
    """The user's input cannot be processed. The message says what to do about it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class DeviceUnavailable(Exception):
    """The leased device could not be opened."""


class StopRequested(Exception):
    """The supervisor asked the child to stop; its checkpoint is saved."""


class Reporter:
    """Write protocol messages to the supervisor, one JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def progress(
        self, phase: str, done: int | None = None, total: int | None = None, eta_s: float | None = None
    ) -> None:
        """Report progress: `done` of `total`, None if nothing is counted; `eta_s` seconds, None if unknown."""
        counts = {} if done is None or total is None else {"done": done, "total": total}
        self._send({"type": "progress", "phase": phase, **counts, "eta_s": eta_s})

    def metric(self, step: int, values: Mapping[str, float]) -> None:
        """Report metrics of one step; non-finite values are left out, as JSON cannot represent them."""
        self._send({"type": "metric", "step": step, "values": {k: v for k, v in values.items() if math.isfinite(v)}})

    def checkpoint(self, step: int) -> None:
        """Report that the folder `checkpoint/` is complete."""
        self._send({"type": "checkpoint", "step": step})

    def error(self, code: str, message: str) -> None:
        """Report why the work cannot continue, in words for the person who launched it."""
        self._send({"type": "error", "code": code, "message": message})

    def _send(self, message: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(message, allow_nan=False) + "\n")
        self._stream.flush()


@dataclass(frozen=True)
class Context:
    """Everything a task works with. `device` is a torch.device for training and None for ingest."""

    workdir: Path
    job: Mapping[str, Any]
    report: Reporter
    stopping: Callable[[], bool]
    device: Any = None
    notes: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> Path:
        """Return the folder that the parent staged."""
        return self.workdir / "in"

    @property
    def out(self) -> Path:
        """Return the folder that the parent collects after exit 0."""
        folder = self.workdir / "out"
        folder.mkdir(exist_ok=True)
        return folder


def claim_stdout() -> TextIO:
    """Reserve stdout for the protocol: Python output goes to stderr instead."""
    stream = sys.stdout
    sys.stdout = sys.stderr
    return stream


def note(text: str) -> None:
    """Write one line to the job's log, which its launcher reads."""
    sys.stderr.write(text.replace("\n", " ") + "\n")
    sys.stderr.flush()


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 thread, 4 threads."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside the target and rename it, so that no reader sees a partial file."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(value, allow_nan=False, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)
