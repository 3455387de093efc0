"""How busy the device of a job was in its last hour on it: for charts of one page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Avg, F, Max, Q, QuerySet, Sum
from django.db.models.functions import TruncMinute

from billing.rating.quantity import WHOLE
from compute.models import DeviceSample
from compute.queries.rows import JobDetail
from tenants.clock import now

SHOWN = timedelta(hours=1)


@dataclass(frozen=True)
class UseMinute:
    """One minute: how busy the device, or the job's share of it, was, most memory in bytes, mean power in watts.

    `busy` and `power_w` are None where the device does not measure them.
    """

    at: datetime
    busy: float | None
    memory_bytes: int
    power_w: float | None

    @property
    def percent(self) -> float | None:
        """Return `busy` in percent."""
        return None if self.busy is None else self.busy * 100


def use_by_minute(job: JobDetail) -> list[UseMinute]:
    """Return the minutes with samples of the job's last hour on its devices, oldest first; samples go after 14 days."""
    runs = [run for run in job.attempts if run.started_at]
    if not runs:
        return []
    until = runs[-1].ended_at or now()
    rows = _samples([run.id for run in runs], until - SHOWN)
    of_share = WHOLE / job.share
    return [
        UseMinute(at, None if busy is None else min(1.0, busy * of_share), memory, power)
        for at, busy, memory, power in rows
    ]


def _samples(
    attempt_ids: list[UUID], since: datetime
) -> QuerySet[DeviceSample, tuple[datetime, float | None, int, float | None]]:
    return (
        DeviceSample.objects.filter(attempt_id__in=attempt_ids, at__gt=since, seconds__gt=0)
        .annotate(minute=TruncMinute("at"))
        .values_list("minute")
        .annotate(
            used=Sum(F("seconds") * F("busy")) / Sum("seconds", filter=Q(busy__isnull=False)),
            most=Max("memory_bytes"),
            power=Avg("power_w"),
        )
        .order_by("minute")
    )
