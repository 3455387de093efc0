"""Which month bills usage: its own, or the first open one after those that are closed.

Accepting usage takes a shared lock on the months that it may fall in, closing a month an exclusive one; the closed
months are read after the lock. So no usage is accepted for a month that closes meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection

from billing.rating.calendar import next_period, period_of
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import prepared_cursor

#: Local time is at most 14 hours ahead of UTC and 12 behind it.
FARTHEST = timedelta(hours=14)
#: How far before and after now usage lies that is over and not older than a day, in any zone.
RECENT = (-timedelta(hours=24) - FARTHEST, timedelta(hours=1) + FARTHEST)
#: Intervals outside these years are refused as unsound after the lock.
FIRST_YEAR, LAST_YEAR = 1970, 9990
KEY = "hashtextextended('billing.period' || %(tenant)s || m, 0)"
SHARE = f"SELECT count(pg_advisory_xact_lock_shared({KEY})) FROM unnest(%(months)s::text[]) AS m"  # noqa: S608
# One statement, as each heartbeat takes both.
SHARE_WITH_BUDGETS = (
    f"SELECT ({SHARE}) FROM pg_advisory_xact_lock_shared(hashtextextended('billing.budgets' || %(tenant)s, 0))"  # noqa: S608
)
# The subquery comes first: its locks make it one that is not dissolved into the whole.
SHARE_RECENT = f"""
SELECT at, (SELECT count(pg_advisory_xact_lock_shared({KEY})) FROM (
  SELECT DISTINCT to_char((at + shift) AT TIME ZONE 'UTC', 'YYYY-MM-01') AS m FROM unnest(%(shifts)s::interval[]) AS shift ORDER BY 1) n)
FROM (SELECT exchequer_now() AS at, pg_advisory_xact_lock_shared(hashtextextended('billing.budgets' || %(tenant)s, 0))) opened
"""  # noqa: S608
EXCLUDE = f"SELECT count(pg_advisory_xact_lock({KEY})) FROM unnest(%(months)s::text[]) AS m"  # noqa: S608
CLOSED = "SELECT max(period) FROM billing_billingperiod WHERE tenant_id = %s AND state = 'closed'"


@dataclass(frozen=True, slots=True)
class Billing:
    """The months that bill usage. `closed` is the last closed month; it and all before it take no more usage."""

    closed: date | None

    def of(self, day: date) -> date:
        """Return the month that bills usage of this local day."""
        month = period_of(day)
        return month if self.closed is None or month > self.closed else next_period(self.closed)


@dataclass(frozen=True, slots=True)
class Opened:
    """The database's time, and the months that are locked for usage around it."""

    now: datetime
    months: frozenset[date]


def lock_for_recent_usage() -> Opened:
    """Lock, shared, the tenant's set of budgets and the months in which usage of the last day may fall, whatever the zone."""
    with prepared_cursor() as cursor:
        cursor.execute(SHARE_RECENT, {"tenant": str(current_tenant_id()), "shifts": list(RECENT)})
        now, _ = cursor.fetchone()
    return Opened(now, frozenset(period_of((now.astimezone(UTC) + shift).date()) for shift in RECENT))


def lock_for_usage(moments: Collection[datetime], locked: Collection[date] = ()) -> None:
    """Lock, shared, the tenant's set of budgets and the months that these moments may fall in, whatever the zone.

    `locked`: months that are locked already, with the set of budgets; then only others are.
    """
    months = months_of(moments) - {*locked}
    if months or not locked:
        _lock(SHARE_WITH_BUDGETS, sorted(months))


def months_of(moments: Collection[datetime]) -> set[date]:
    """Return the months that these moments may fall in, whatever the zone."""
    bounds = bounds_of(moments)
    if bounds is not None:
        first, last = (moment.date() for moment in bounds)
        # Most usage lies in the midst of one month.
        if (
            period_of(first) == period_of(last)
            and FIRST_YEAR <= first.year <= LAST_YEAR
            and first.day >= 2
            and last.day <= 27
        ):
            return {period_of(first)}
    real = [
        moment.astimezone(UTC)
        for moment in moments
        if moment.utcoffset() is not None and FIRST_YEAR <= moment.year <= LAST_YEAR
    ]
    days = {moment.date() for moment in real}
    if any(day.day < 2 or day.day > 27 for day in days):  # elsewhere no zone is in another month
        days = {(moment + shift).date() for moment in real for shift in (-FARTHEST, FARTHEST)}
    return {period_of(day) for day in days}


def bounds_of(moments: Collection[datetime]) -> tuple[datetime, datetime] | None:
    """Return the first and the last of moments, if these two are in UTC and no moment lacks a zone."""
    try:
        first, last = min(moments), max(moments)
    except (TypeError, ValueError):  # naive beside aware ones, or none at all
        return None
    return (first, last) if first.tzinfo is UTC and last.tzinfo is UTC else None


def billing_now(days: Collection[date]) -> Billing:
    """Lock the months of these local days, shared, and return the months that bill what is taken back of them."""
    _lock(SHARE, sorted({period_of(day) for day in days}))
    return billing_of(days, last_closed())


def billing_of(days: Iterable[date], closed: date | None) -> Billing:
    """Return the months that bill usage of these local days, whose own months are locked; `closed` was read since.

    The month of corrections is locked here.
    """
    months = {period_of(day) for day in days}
    found = Billing(closed)
    while found.closed is not None and any(month <= found.closed for month in months):
        _lock(SHARE, [next_period(found.closed)])
        now = Billing(last_closed())
        if now == found:
            break
        found = now
    return found


def lock_to_close(period: date) -> None:
    """Lock a month, exclusively: until the transaction ends nobody accepts usage for it."""
    _lock(EXCLUDE, [period])


def last_closed() -> date | None:
    """Return the last closed month of the open scope's tenant."""
    with connection.cursor() as cursor:
        cursor.execute(CLOSED, [current_tenant_id()])
        closed: date | None = cursor.fetchone()[0]
    return closed


def _lock(statement: str, months: Iterable[date]) -> None:
    named: dict[str, Any] = {"tenant": str(current_tenant_id()), "months": [month.isoformat() for month in months]}
    with prepared_cursor() as cursor:
        cursor.execute(statement, named)
