"""Monthly partitions of usage. A month without one is served by the default partition, and moves out of it later."""

from __future__ import annotations

from datetime import date, timedelta

from django.db import connection

from tenants import clock

MONTHS_AHEAD = 2


def ensure(first: date, last: date) -> int:
    """Make the missing partitions of the months from `first` to `last`; return how many. Control role only.

    Rows that came before move over. The default partition is locked meanwhile, usage waits for that moment.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_ensure_partitions(%s, %s)", [first, last])
        (made,) = cursor.fetchone()
    return int(made)


def ensure_ahead() -> int:
    """Make the partitions of this month and the next two; return how many were missing."""
    today = clock.now().date()
    return ensure(today, today + timedelta(days=31 * MONTHS_AHEAD))
