"""Progress of a job, as a strip of stages and as charts over its steps. Pure functions of query results."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from compute.queries import JobDetail, MetricPoint, class_title
from compute.queries.device_use import UseMinute

FINAL_WORDS = {"succeeded": "Succeeded", "failed": "Failed", "cancelled": "Cancelled"}
TONES = {"succeeded": "done", "failed": "bad", "cancelled": "bad"}


@dataclass(frozen=True)
class ProgressStage:
    """One stage of the strip. `tone` is done, now, bad or nothing; `took` is its duration."""

    label: str
    tone: str
    took: timedelta | None = None
    note: str = ""


def stages(job: JobDetail) -> list[ProgressStage]:
    """Return queued, starting, running and the end, each with how long it took."""
    first = job.attempts[0] if job.attempts else None
    last = job.attempts[-1] if job.attempts else None
    assigned = first.assigned_at if first else None
    queued = ProgressStage(
        "Queued",
        "done" if assigned else "now" if not job.final else "",
        _between(job.submitted_at, assigned or job.ended_at),
        why(job),
    )
    started = last.started_at if last else None
    starting = ProgressStage(
        "Starting",
        "done" if started else "now" if last and not job.final else "",
        _between(last.assigned_at if last else None, started),
    )
    running_tone = "now" if job.state == "running" and started else "done" if started else ""
    running = ProgressStage(
        "Running",
        running_tone,
        timedelta(seconds=float(job.billed_seconds)) if job.billed_seconds else None,
        phase(job),
    )
    if job.stopping:
        end = ProgressStage("Pausing", "now", None, "saving a checkpoint, if it has any")
    elif job.state == "paused":
        end = ProgressStage("Paused", "now", None, job.cause)
    else:
        end = ProgressStage(
            FINAL_WORDS.get(job.state, "Done"), TONES.get(job.state, ""), None, job.cause.replace("_", " ")
        )
    return [queued, starting, running, end]


def why(job: JobDetail) -> str:
    """Return briefly why a job waits; the page has the full reason below."""
    waiting = job.waiting_for
    if not waiting:
        return ""
    if job.state != "queued":
        return ""
    if waiting.get("kind") == "device":
        place = waiting.get("position", 1)
        return f"{'next' if place == 1 else f'number {place}'} of yours for {class_title(str(waiting.get('device_class')))}"
    until = waiting.get("until")
    if isinstance(until, datetime):
        return f"tries again at {timezone.localtime(until):%H:%M:%S}"
    return str(waiting.get("kind") or "").replace("_", " ")


def phase(job: JobDetail) -> str:
    """Return the child's current phase as text, unless it has a bar."""
    if job.state != "running":
        return ""
    done, total = job.progress.get("done"), job.progress.get("total")
    name = str(job.progress.get("phase") or "working")
    return "" if name == "running" or (done is not None and total) else name  # the bar below says how far it is


def overrun(job: JobDetail) -> timedelta | None:
    """Return by how much a running job will miss its time limit at its current pace; None if it fits."""
    eta = job.progress.get("eta_s")
    if job.state != "running" or isinstance(eta, bool) or not isinstance(eta, int | float) or not math.isfinite(eta):
        return None
    beyond = float(job.billed_seconds) + eta - job.max_seconds
    return timedelta(seconds=round(beyond)) if 0 < beyond < 10**9 else None


def loss_series(points: Sequence[MetricPoint]) -> dict[str, list[tuple[float, float]]]:
    """Return the losses over steps, by name: training first."""
    return _series(points, lambda name: "loss" in name)


def other_metrics(points: Sequence[MetricPoint]) -> dict[str, list[tuple[float, float]]]:
    """Return up to four metrics that are not losses, over steps."""
    return dict(list(_series(points, lambda name: "loss" not in name).items())[:4])


def single_values(points: Sequence[MetricPoint]) -> dict[str, float]:
    """Return metrics reported once in a run of many steps, such as a test accuracy, which no line can show."""
    return {
        name: values[0][1] for name, values in _found(points, lambda _: True).items() if _lone(name, values, points)
    }


def use_series(minutes: Sequence[UseMinute]) -> list[tuple[str, dict[str, list[tuple[float, float]]]]]:
    """Return title and line of utilisation, memory and power by minute, without what was not measured."""
    if not minutes:
        return []
    first = minutes[0].at
    passed = [(one.at - first).total_seconds() / 60 for one in minutes]
    busy = [(at, one.percent) for at, one in zip(passed, minutes, strict=True) if one.percent is not None]
    memory = [(at, one.memory_bytes / 2**30) for at, one in zip(passed, minutes, strict=True)]
    power = [(at, one.power_w) for at, one in zip(passed, minutes, strict=True) if one.power_w is not None]
    charts = {
        "Utilisation in percent": {"utilisation": busy},
        "Memory in GiB": {"memory": memory},
        "Power in watts": {"power": power},
    }
    return [(title, lines) for title, lines in charts.items() if all(lines.values())]


def not_measured(minutes: Sequence[UseMinute]) -> list[str]:
    """Return what of utilisation and power the device measured in none of the minutes."""
    measured = {"utilisation": [one.percent for one in minutes], "power": [one.power_w for one in minutes]}
    return [name for name, values in measured.items() if all(value is None for value in values)]


def _lone(name: str, values: Sequence[tuple[float, float]], points: Sequence[MetricPoint]) -> bool:
    return len(values) == 1 and (len(points) > 2 or name.startswith("test"))  # after a single epoch, too


def _series(points: Sequence[MetricPoint], wanted: Callable[[str], bool]) -> dict[str, list[tuple[float, float]]]:
    return {name: values for name, values in _found(points, wanted).items() if not _lone(name, values, points)}


def _found(points: Sequence[MetricPoint], wanted: Callable[[str], bool]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        for name, value in point.values.items():
            if wanted(name) and isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(name, []).append((float(point.step), float(value)))
    return dict(sorted(found.items(), key=lambda item: (not item[0].startswith("train"), item[0])))


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    return end - start if start and end else None
