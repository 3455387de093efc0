"""Retention of monitoring data.

Minutes stay for two days, hours for ninety; feedback, closed slices and resolved alerts for a little over a year, keys
for ninety days after their end. So do ticks of schedules: their jobs and runs stay.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add
from uuid import UUID

from django.db.models import Count, QuerySet
from django.db.models.functions import TruncHour

from models_app.models import EndpointKey, Feedback, HealthAlert, HealthWindow, ScheduleRun, ServingSlice, TickOutcome
from models_app.monitoring.recent_windows import NAMES, sums_of
from tenants.cleanup import remove_ended
from tenants.clock import DatabaseNow, now
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Tenant

FINE = timedelta(days=2)
WINDOWS = timedelta(days=90)
TICKS = timedelta(days=90)
FEEDBACK = SLICES = ALERTS = timedelta(days=400)
HOUR = timedelta(hours=1)


def purge_everywhere() -> dict[str, int]:
    """Fold and remove old rows of every tenant (control role); return how many went, by kind.

    A failure of one tenant stops no other, and is raised at the end (SweepFailed).
    """
    gone = {"windows": 0, "feedback": 0, "slices": 0, "alerts": 0, "keys": 0, "ticks": 0}
    with sweep("old rows of monitoring") as each:
        for tenant_id in each.over(Tenant.objects.order_by("id").values_list("id", flat=True)):
            with each(tenant=tenant_id):
                for kind, rows in purge_expired(tenant_id).items():
                    gone[kind] += rows
    return gone


def purge_expired(tenant_id: UUID) -> dict[str, int]:
    """Fold and remove old rows of one tenant (control role); return how many went, by kind."""
    with tenant_scope(tenant_id):
        removed = HealthWindow.objects.filter(minute__lt=DatabaseNow() - WINDOWS).delete()[0]
        feedback = Feedback.objects.filter(received_at__lt=DatabaseNow() - FEEDBACK).delete()[0]
        slices = ServingSlice.objects.filter(closed_at__lt=DatabaseNow() - SLICES).delete()[0]
        alerts = HealthAlert.objects.filter(resolved_at__lt=DatabaseNow() - ALERTS).delete()[0]
        keys = remove_ended(EndpointKey)
        old = ScheduleRun.objects.filter(due_at__lt=DatabaseNow() - TICKS).exclude(outcome=TickOutcome.WAITING)
        ticks = old.delete()[0]
        before = (now() - FINE).replace(minute=0, second=0, microsecond=0)
        several = (
            HealthWindow.objects.filter(minute__lt=before)
            .values_list("endpoint_id", "version_id", TruncHour("minute", tzinfo=UTC))
            .annotate(windows=Count("id"))
            .filter(windows__gt=1)
            .order_by()
        )
        hours = [row[:3] for row in several]
    for endpoint_id, version_id, hour in hours:
        # One transaction each: a long first run holds no lock and loses nothing if interrupted.
        with tenant_scope(tenant_id):
            rows = HealthWindow.objects.filter(endpoint_id=endpoint_id, version_id=version_id)
            removed += _fold(rows, hour)
    return {"windows": removed, "feedback": feedback, "slices": slices, "alerts": alerts, "keys": keys, "ticks": ticks}


def _fold(of_version: QuerySet[HealthWindow], hour: datetime) -> int:
    """Merge the windows of an hour into one that starts with it; the sums stay the same."""
    rows = list(
        of_version.filter(minute__gte=hour, minute__lt=hour + HOUR).select_for_update(no_key=True).order_by("minute")
    )
    if len(rows) < 2:
        return 0
    sums = reduce(add, map(sums_of, rows))
    first, *others = [row.pk for row in rows]
    HealthWindow.objects.filter(id__in=others).delete()
    HealthWindow.objects.filter(id=first).update(minute=hour, **{name: getattr(sums, name) for name in NAMES})
    return len(others)
