"""The sweep of time-weighted series (control role): each hour the last value is counted up to there.

So a value that nobody reports again is charged hour by hour, and a month ends with all of its hours counted.
"""

from __future__ import annotations

from itertools import groupby
from uuid import UUID

import structlog
from django.db import connection

from billing.periods.months import lock_for_usage
from billing.reported.readings import counting, stored
from billing.reported.readings.counting import HOUR, MOST_PIECES
from tenants import clock
from tenants.isolation.scoping import tenant_scope

MOST = 10_000
AT_ONCE = 100
"""Series in one transaction, which locks the budgets; fewer if it has many hours to count."""
DUE = """
SELECT tenant_id, group_hash, due_at FROM billing_meterseries WHERE due_at <= exchequer_now() ORDER BY due_at, tenant_id LIMIT %s
"""
log = structlog.get_logger(__name__)


def count_hours() -> int:
    """Count what the last values of all tenants come to up to the last hour; return for how many series.

    A failure of one tenant is logged and stops no other.
    """
    with connection.cursor() as cursor:
        cursor.execute(DUE, [MOST])
        due = cursor.fetchall()
    now, done = clock.now(), 0
    for tenant_id, rows in groupby(sorted(due, key=lambda row: (row[0], bytes(row[1]))), key=lambda row: row[0]):
        series = [(bytes(group), due_at) for _, group, due_at in rows]
        behind = (now - min(due_at for _, due_at in series)) // HOUR
        size = max(1, min(AT_ONCE, MOST_PIECES // (behind + 2)))
        try:
            for start in range(0, len(series), size):
                done += _of_tenant(tenant_id, [group for group, _ in series[start : start + size]])
        except Exception:
            log.exception("meter_series.failed", tenant=str(tenant_id))
    return done


def _of_tenant(tenant_id: UUID, groups: list[bytes]) -> int:
    with tenant_scope(tenant_id):
        lock_for_usage([clock.now()])
        stored.lock_series(groups)
        last = stored.last_of(groups)
        counting.count(last)
    return len(last)
