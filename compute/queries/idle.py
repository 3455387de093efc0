"""Jobs whose devices do nothing now, by the money that is lost, and the warning of one job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import ExpressionWrapper, F, FloatField, QuerySet
from django.db.models.functions import Extract

from billing.money import Money
from compute.jobs.visibility import visible_jobs, without_amounts
from compute.models import Attempt, AttemptState, Job
from tenants.access.reader import sees_money
from tenants.clock import DatabaseNow, now

MOST = 200


@dataclass(frozen=True, kw_only=True)
class IdleJob:
    """An idle job. `lost`: what its devices cost since `idle_since`, at its price; `per_hour` is lost in each further hour.

    At `stops_at` it is stopped with a checkpoint, unless it works again; `snoozes` of it were put off, last for `snooze_reason`.
    """

    job_id: UUID
    name: str
    project: str
    project_name: str
    submitted_by_label: str
    device_class: str
    devices: int
    idle_since: datetime
    stops_at: datetime
    snoozes: int
    snooze_reason: str
    lost: Money
    per_hour: Money


def idle_jobs(most: int = MOST) -> list[IdleJob]:
    """Return the idle jobs that the reader sees, most money lost first; without amounts, longest idle first: one statement."""
    live = {"attempts__idle_since__isnull": False, "attempts__ended_at__isnull": True}
    rows: QuerySet[Any] = visible_jobs().filter(**live).select_related("project")
    rows = rows.annotate(since=F("attempts__idle_since"), stops=F("attempts__idle_stop_at"))
    rows = rows.annotate(times=F("attempts__snoozes"), why=F("attempts__snooze_reason"))
    if sees_money():
        idle_s = Extract(DatabaseNow() - F("attempts__idle_since"), "epoch")
        lost = ExpressionWrapper(idle_s * F("unit_amount") * F("devices"), output_field=FloatField())
        rows = rows.annotate(rank=lost).order_by("-rank", "id")
    else:
        rows = rows.order_by("attempts__idle_since", "id")
    return [_row(without_amounts(job), job.since, job.stops, (job.times, job.why)) for job in rows[:most]]


def idle_of(job_id: UUID) -> IdleJob | None:
    """Return the warning of one job that the reader sees, None if its devices work, or it does not run."""
    job = visible_jobs().filter(id=job_id).select_related("project").first()
    rows = Attempt.objects.filter(job_id=job_id, idle_since__isnull=False).exclude(state=AttemptState.ENDED)
    run = rows.first()
    if job is None or run is None or run.idle_since is None or run.idle_stop_at is None:
        return None
    return _row(without_amounts(job), run.idle_since, run.idle_stop_at, (run.snoozes, run.snooze_reason))


def _row(job: Job, since: datetime, stops: datetime, snoozed: tuple[int, str]) -> IdleJob:
    seconds = Decimal(max(0, int((now() - since).total_seconds())))
    return IdleJob(
        job_id=job.id,
        name=job.name,
        project=job.project.slug,
        project_name=job.project.name,
        submitted_by_label=job.submitted_by_label,
        device_class=job.device_class,
        devices=job.devices,
        idle_since=since,
        stops_at=stops,
        snoozes=snoozed[0],
        snooze_reason=snoozed[1],
        lost=Money(job.second_amount * seconds, job.currency),
        per_hour=Money(job.second_amount * 3_600, job.currency),
    )
