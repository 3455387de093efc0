"""Every interval of a line, portion by portion: nobody who reads slowly holds a transaction or the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from django.db import connection

from billing.queries.explain import FROM_LINE
from billing.queries.invoices import InvoiceView
from billing.queries.lines import InvoiceLine
from billing.rating.calendar import next_period
from billing.usage.reserved_sources import own_sources
from tenants.isolation.scoping import tenant_scope
from tenants.rows import rows_as

SERIES_AT_ONCE = 200
PORTION = 1_000
SERIES = """
SELECT DISTINCT s.hash FROM billing_usagerollup r JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
WHERE r.tenant_id = %(tenant)s AND r.period = %(period)s AND r.day >= %(month)s AND r.day < (%(month)s::date + interval '1 month')
  AND r.project_id = %(project)s AND r.meter_id = %(meter)s AND r.price_id IS NOT DISTINCT FROM %(price)s AND r.rate_id IS NOT DISTINCT FROM %(rate)s
  AND (s.source <> ALL(%(own)s::text[])) = %(outside)s
ORDER BY 1
"""
INTERVALS = f"""
SELECT e.series_hash, e.started_at, e.key_hash, e.part, e.ended_at, e.kind, e.measured, e.billable, e.amount, e.discount,
  s.resource, s.job_id, s.attempt_id, coalesce(h.placed_by_id, b.sender_id) AS actor_id
{FROM_LINE}  AND (%(after_series)s::bytea IS NULL
    OR (e.series_hash, e.started_at, e.key_hash, e.part) > (%(after_series)s, %(after_start)s::timestamptz, %(after_key)s::bytea, %(after_part)s))
ORDER BY e.series_hash, e.started_at, e.key_hash, e.part LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class LineInterval:
    """One stored interval, or its adjustment, with who asked for it. `discount` is the list amount less the amount."""

    series_hash: bytes
    started_at: datetime
    key_hash: bytes
    part: int
    ended_at: datetime
    kind: str
    measured: Decimal
    billable: Decimal
    amount: Decimal
    discount: Decimal
    resource: str
    job_id: UUID | None
    attempt_id: UUID | None
    actor_id: UUID | None


def intervals_of(tenant_id: UUID, view: InvoiceView, line: InvoiceLine) -> Iterator[LineInterval]:
    """Return the intervals of a line. Each portion is a transaction: of a draft, later portions may hold later usage."""
    if line.project_id is None or line.meter_id is None:
        return
    month = line.origin or view.period
    asked: dict[str, Any] = {
        "tenant": tenant_id,
        "period": view.period,
        "month": month,
        # Only to prune partitions: the stored day decides, whatever the zone was then.
        "starts": datetime.combine(month, time.min, UTC) - timedelta(days=2),
        "ends": datetime.combine(next_period(month), time.min, UTC) + timedelta(days=2),
        "project": line.project_id,
        "meter": line.meter_id,
        "price": line.price_id,
        "rate": line.rate.id if line.rate else None,
        "outside": line.outside,
        "own": own_sources(),
        "limit": PORTION,
    }
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(SERIES, asked)
        series = [bytes(found) for (found,) in cursor.fetchall()]
    for start in range(0, len(series), SERIES_AT_ONCE):
        yield from _of_series(tenant_id, {**asked, "series": series[start : start + SERIES_AT_ONCE]})


def _of_series(tenant_id: UUID, asked: dict[str, Any]) -> Iterator[LineInterval]:
    last: LineInterval | None = None
    for _ in count():
        place = {
            "after_series": last.series_hash if last else None,
            "after_start": last.started_at if last else None,
            "after_key": last.key_hash if last else None,
            "after_part": last.part if last else 0,
        }
        with tenant_scope(tenant_id), connection.cursor() as cursor:
            cursor.execute(INTERVALS, asked | place)
            portion = rows_as(LineInterval, cursor)
        yield from portion
        if len(portion) < PORTION:
            return
        last = portion[-1]
