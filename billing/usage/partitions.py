"""Monthly partitions of usage. Rows of a month without one go to the default partition, and are moved out later."""

from __future__ import annotations

from datetime import date, timedelta

from django.db import connection

from tenants import clock

MONTHS_AHEAD = 2


def ensure(first: date, last: date) -> int:
    """Create the missing partitions of the months from `first` to `last`; return how many. Control role only.

    Earlier rows move over. Meanwhile the default partition is locked, and usage waits.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_ensure_partitions(%s, %s)", [first, last])
        (made,) = cursor.fetchone()
    return int(made)


def ensure_ahead() -> int:
    """Create the partitions of this month and the next two; return how many were missing."""
    today = clock.now().date()
    return ensure(today, today + timedelta(days=31 * MONTHS_AHEAD))
