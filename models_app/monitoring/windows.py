"""Windows of traffic in the database: a node's counts are added to the newest one, and alerts are evaluated at once.

A window starts with a minute, and a new one within it once the last holds FULL rows. This separates the last few
hundred rows from earlier ones, at any rate of traffic.
"""

from __future__ import annotations

from uuid import UUID

from models_app.measures.window import Sums, Window
from models_app.models import HealthWindow
from models_app.monitoring import alerts
from models_app.monitoring.recent_windows import NAMES, sums_of
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope

FULL = 200


def flush(tenant_id: UUID, endpoint_id: UUID, window: Window) -> None:
    """Store the window's counts and evaluate the endpoint, in one transaction; counts that cannot be stored go back.

    What a node had not flushed when it died is missing here. Bills do not depend on it: they use the spool.
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
    newest = rows.select_for_update(no_key=True).order_by("-minute").first()
    if newest is not None and newest.rows < FULL:
        HealthWindow.objects.filter(id=newest.id).update(**_fields(sums_of(newest) + sums))
        return
    starts = minute if newest is None else moment
    HealthWindow.objects.create(endpoint_id=endpoint_id, version_id=version_id, minute=starts, **_fields(sums))


def _fields(sums: Sums) -> dict[str, object]:
    return {name: getattr(sums, name) for name in NAMES}
