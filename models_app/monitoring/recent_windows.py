"""The newest windows of an endpoint, summed: what alerts are judged by and pages show."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from models_app.measures import drift
from models_app.measures.window import Sums
from models_app.models import HealthWindow
from tenants.clock import DatabaseNow

RECENT = timedelta(days=7)
NAMES = tuple(Sums.__dataclass_fields__)


def last_rows(endpoint_id: UUID, version_id: UUID) -> Sums:
    """Return the newest windows of a version together: as few as hold enough rows to judge drift."""
    # Each window holds a row at least, so that this many windows always hold enough, at any rate of traffic.
    newest = HealthWindow.objects.filter(
        endpoint_id=endpoint_id, version_id=version_id, rows__gt=0, minute__gte=DatabaseNow() - RECENT
    ).order_by("-minute")[: drift.ENOUGH_ROWS]
    chosen, held = [], 0
    for window_id, rows in newest.values_list("id", "rows"):
        chosen.append(window_id)
        held += rows
        if held >= drift.ENOUGH_ROWS:
            break
    return sum(map(sums_of, HealthWindow.objects.filter(id__in=chosen).only(*NAMES)), Sums())


def last_minutes(endpoint_id: UUID, version_id: UUID, minutes: int = 5) -> Sums:
    """Return requests, errors and latency of the last minutes; inputs and outputs are left out."""
    rows = HealthWindow.objects.filter(
        endpoint_id=endpoint_id, version_id=version_id, minute__gte=DatabaseNow() - timedelta(minutes=minutes)
    )
    values = rows.values("requests", "rows", "compute_ms", "errors", "latency")
    return sum((Sums(**row) for row in values), Sums())


def sums_of(row: HealthWindow) -> Sums:
    """Return what a stored window holds."""
    return Sums(**{name: getattr(row, name) for name in NAMES})
