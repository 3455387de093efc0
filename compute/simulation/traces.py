"""Read traces of jobs: a CSV, or a folder of them, one a tenant."""

from __future__ import annotations

import csv
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compute.policy import WHOLE

DAY_S = 86_400.0
SHORTEST_S, LONGEST_S = 30.0, 5 * DAY_S
"""Bounds of a duration: a month holds no job of weeks, and starting takes its time."""


class TraceInvalid(ValueError):
    """The trace cannot be read; the message says where and what is asked for."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One job of a trace: submitted `at` seconds after the first of its tenant, running for `seconds` on `devices`.

    `share`: of its one device, in thousandths. Of its job set `set_id` so many run `at_once`; None: any number.
    """

    tenant: Any
    at: float
    seconds: float
    devices: int
    project: Hashable | None = None
    share: int = WHOLE
    set_id: Hashable | None = None
    at_once: int | None = None


def read(path: Path, *, days: float = 30) -> list[Recorded]:
    """Return the jobs of the first `days` of each tenant, by time.

    Columns: `submit_time` and `duration` in milliseconds, `num_gpu`; and, for jobs of a set, `job_set` and `most_at_once`.
    Raises TraceInvalid.
    """
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise TraceInvalid(f"There is no CSV at {path}. Name a file, or a folder with one file a tenant.")
    jobs = [job for file in files for job in _jobs(file, days)]
    if not jobs:
        raise TraceInvalid(f"{path} has no jobs in its first {days:g} days.")
    return sorted(jobs, key=lambda job: job.at)


def _jobs(file: Path, days: float) -> list[Recorded]:
    found = []
    with file.open(newline="", encoding="utf-8") as lines:
        for number, row in enumerate(csv.DictReader(lines), 2):
            try:
                at, seconds, devices = int(row["submit_time"]) / 1000, int(row["duration"]) / 1000, int(row["num_gpu"])
            except (KeyError, TypeError, ValueError):
                message = "submit_time and duration in milliseconds, and num_gpu, as whole numbers"
                raise TraceInvalid(f"{file.name}, line {number}: give {message}.") from None
            if at < 0 or seconds < 0 or devices < 1:
                raise TraceInvalid(f"{file.name}, line {number}: times are 0 or more, num_gpu is 1 or more.")
            set_id, at_once = _set_of(file, number, row)
            if at < days * DAY_S:
                lasts = min(max(seconds, SHORTEST_S), LONGEST_S)
                found.append(Recorded(file.stem, at, lasts, devices, set_id=set_id, at_once=at_once))
    return found


def _set_of(file: Path, number: int, row: dict[str, str]) -> tuple[Hashable | None, int | None]:
    """Return the job set of a row, which belongs to its tenant, and how many of it run at once."""
    name, most = (row.get("job_set") or "").strip(), (row.get("most_at_once") or "").strip()
    if most and not (name and most.isascii() and most.isdigit() and int(most)):
        raise TraceInvalid(f"{file.name}, line {number}: most_at_once is 1 or more, and of a job_set.")
    return (file.stem, name) if name else None, int(most) if most else None
