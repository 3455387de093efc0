"""Map moments to quarter hours, tenant-local days and billing periods.

Every zone's midnight lies on a quarter hour of UTC, so an interval split there belongs to exactly one local day and one
local month.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
MONTHS = {"month": 1, "quarter": 3, "year": 12}
"""How many calendar months the periods of budgets last."""
#: The last day of a budget's period, in SQL: `b.period` names its length, `m.period` is its first day.
LAST_DAY = "(m.period + CASE b.period WHEN 'month' THEN interval '1 month' WHEN 'quarter' THEN interval '3 months' ELSE interval '1 year' END - interval '1 day')::date"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def split(start: datetime, end: datetime, cuts: Iterable[datetime] = ()) -> list[tuple[datetime, datetime]]:
    """Cut `[start, end)` at every quarter hour of UTC and at `cuts` strictly inside.

    The segments are half-open, in order, in UTC and add up to the whole to the microsecond.
    """
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    edges = {cut.astimezone(UTC) for cut in cuts if start < cut < end}
    edge = quarter_of(start) + QUARTER
    if end <= edge and not edges:
        return [(start, end)]
    while edge < end:
        edges.add(edge)
        edge += QUARTER
    bounds = [start, *sorted(edges), end]
    return list(pairwise(bounds))


def quarters(start: datetime, end: datetime) -> int:
    """Return the number of UTC quarter hours that `[start, end)` touches.

    That is its number of segments if no price starts in it.
    """
    return -((quarter_of(start) - end) // QUARTER)


def quarter_of(moment: datetime) -> datetime:
    """Return the start of the UTC quarter hour of `moment`."""
    return moment - (moment - EPOCH) % QUARTER


def hour_of(moment: datetime) -> datetime:
    """Return the start of the UTC hour of `moment`."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def local_day(moment: datetime, zone: str) -> date:
    """Return the calendar day of `moment` in `zone`."""
    return moment.astimezone(zone_named(zone)).date()


def period_of(day: date) -> date:
    """Return the first day of the month of `day`, which names the billing period."""
    return day.replace(day=1)


def next_period(period: date) -> date:
    """Return the first day of the month after `period`."""
    return (period.replace(day=1) + timedelta(days=32)).replace(day=1)


def span_start(day: date, length: str) -> date:
    """Return the first day of the calendar month, quarter or year of `day`."""
    months = MONTHS[length]
    return day.replace(month=(day.month - 1) // months * months + 1, day=1)


def span_end(day: date, length: str) -> date:
    """Return the first day after the month, quarter or year of `day`."""
    start = span_start(day, length)
    for _ in range(MONTHS[length]):
        start = next_period(start)
    return start


def span_name(start: date, length: str) -> str:
    """Return the name of a span by its first day: `June 2026`, `Q2 2026` or `2026`."""
    if length == "year":
        return f"{start.year}"
    return f"Q{(start.month + 2) // 3} {start.year}" if length == "quarter" else f"{start:%B %Y}"


def span_starts(months: Iterable[date]) -> dict[str, list[date]]:
    """Return the first days of the months, quarters and years of these months, by length."""
    known = list(months)
    return {length: sorted({span_start(month, length) for month in known}) for length in MONTHS}


@lru_cache(maxsize=4096)
def period_bounds(period: date, zone: str) -> tuple[datetime, datetime]:
    """Return `[start, end)` of the local month as UTC instants."""
    return day_start(period, zone), day_start(next_period(period), zone)


def day_start(day: date, zone: str) -> datetime:
    """Return the first instant of the local `day`, in UTC; if midnight is skipped, the day's true start."""
    tz = zone_named(zone)
    start = datetime.combine(day, time.min, tz).astimezone(UTC)
    while start.astimezone(tz).date() < day:
        start += QUARTER
    while (start - QUARTER).astimezone(tz).date() >= day:
        start -= QUARTER
    return start


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """Return the zone called `name`; raises ZoneInfoNotFoundError for an unknown one."""
    return ZoneInfo(name)
