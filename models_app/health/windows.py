"""Windows of traffic in the database: what a node counted is added to the newest, and alerts are judged at once.

A window starts with a minute, and anew within it once the last one holds FULL rows: what happened in the last few
hundred rows can then be told from what came before, at any rate of traffic.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import F, Sum
from django.db.models import Window as Over

from models_app.health import alerts, drift
from models_app.health.window import Sums, Window
from models_app.models import HealthWindow
from tenants.clock import DatabaseNow, now
from tenants.scoping import tenant_scope

FULL = 200
RECENT = timedelta(days=7)
NAMES = tuple(Sums.__dataclass_fields__)


def flush(tenant_id: UUID, endpoint_id: UUID, window: Window) -> None:
    """Store what the window has counted and judge the endpoint, in one transaction; what fails to be stored goes back.

    What a node had not flushed when it died is missing here. Bills do not depend on it: they have the spool.
    """
    drained = window.drain()
    if not drained:
        return
    try:
        with tenant_scope(tenant_id):
            for version_id, sums in sorted(drained.items()):
                store(endpoint_id, version_id, sums)
            alerts.evaluate(endpoint_id)
    except BaseException:
        window.give_back(drained)
        raise


def store(endpoint_id: UUID, version_id: UUID, sums: Sums) -> None:
    """Add sums to the newest window of a version, or start the next one."""
    moment = now()
    minute = moment.replace(second=0, microsecond=0)
    rows = HealthWindow.objects.filter(endpoint_id=endpoint_id, version_id=version_id, minute__gte=minute)
    newest = rows.select_for_update().order_by("-minute").first()
    if newest is not None and newest.rows < FULL:
        HealthWindow.objects.filter(id=newest.id).update(**_fields(sums_of(newest) + sums))
        return
    starts = minute if newest is None else moment
    HealthWindow.objects.create(endpoint_id=endpoint_id, version_id=version_id, minute=starts, **_fields(sums))


def last_rows(endpoint_id: UUID, version_id: UUID) -> Sums:
    """Return the newest windows of a version together: as few as hold enough rows to judge drift."""
    newer = Over(Sum("rows"), order_by=F("minute").desc()) - F("rows")
    rows = HealthWindow.objects.filter(
        endpoint_id=endpoint_id, version_id=version_id, rows__gt=0, minute__gte=DatabaseNow() - RECENT
    )
    found = rows.annotate(newer=newer).filter(newer__lt=drift.ENOUGH_ROWS).only(*NAMES)
    return sum(map(sums_of, found), Sums())


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


def _fields(sums: Sums) -> dict[str, object]:
    return {name: getattr(sums, name) for name in NAMES}
