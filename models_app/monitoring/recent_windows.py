"""The newest windows of an endpoint, summed: the basis of alerts and pages."""

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
    """Return the sum of the newest windows of a version: as few as have enough rows to evaluate drift."""
    # Each window holds at least one row, so this many windows always suffice, at any rate of traffic.
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
    """Return requests, errors and latency of the last minutes, without inputs and outputs."""
    rows = HealthWindow.objects.filter(
        endpoint_id=endpoint_id, version_id=version_id, minute__gte=DatabaseNow() - timedelta(minutes=minutes)
    )
    values = rows.values("requests", "rows", "compute_ms", "errors", "latency")
    return sum((Sums(**row) for row in values), Sums())


def sums_of(row: HealthWindow) -> Sums:
    """Return the sums of a stored window."""
    return Sums(**{name: getattr(row, name) for name in NAMES})
