"""Retention of run data: samples 14 days, log lines and metrics 90; whole partitions are dropped.

Their hours (`compute_devicehour`), attempts, jobs and all usage stay.
"""

from __future__ import annotations

from django.db import connection

AHEAD = "10 days"
KEPT = {"compute_devicesample": "14 days", "compute_joblog": "90 days", "compute_jobmetric": "90 days"}


def purge_expired() -> dict[str, int]:
    """Create the partitions of the coming days and drop expired ones; return how many. Control role only."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT compute_ensure_partitions(%s::interval)", [AHEAD])
        counts = {"made": int(cursor.fetchone()[0])}
        for table, kept in KEPT.items():
            cursor.execute("SELECT compute_drop_partitions(%s, %s::interval)", [table, kept])
            counts[table] = int(cursor.fetchone()[0])
    return counts
