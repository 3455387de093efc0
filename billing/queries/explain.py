"""Explain a line's cost: its jobs, their attempts, every interval, who requested it and the price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from django.db import connection

from billing.money import Money
from billing.queries.invoices import InvoiceView, line_of, with_lines
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine
from billing.rating.calendar import next_period
from billing.resource_names import resource_names
from billing.usage.reserved_sources import own_sources
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

SHARES = """
SELECT s.job_id, s.attempt_id, s.resource, s.hash, sum(r.measured) AS measured, sum(r.billable) AS billable,
  sum(r.amount) AS amount, sum(r.events) AS events
FROM billing_usagerollup r JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
WHERE r.tenant_id = %(tenant)s AND r.period = %(period)s AND r.day >= %(month)s AND r.day < (%(month)s::date + interval '1 month')
  AND r.project_id = %(project)s AND r.meter_id = %(meter)s AND r.price_id IS NOT DISTINCT FROM %(price)s AND r.rate_id IS NOT DISTINCT FROM %(rate)s
  AND (%(job)s::uuid IS NULL OR s.job_id = %(job)s) AND (%(attempt)s::uuid IS NULL OR s.attempt_id = %(attempt)s)
  AND (%(resource)s::text IS NULL OR s.resource = %(resource)s) AND (s.source <> ALL(%(own)s::text[])) = %(outside)s
GROUP BY 1, 2, 3, 4 ORDER BY min(r.hour), 4
"""
ORDERS = {
    "": "e.series_hash, e.started_at, e.key_hash, e.part",
    "newest": "e.started_at DESC, e.series_hash, e.key_hash, e.part",
    "dearest": "e.amount DESC, e.started_at, e.series_hash, e.key_hash, e.part",
}
DEEPEST = 10_000
FROM_LINE = """
FROM billing_usageevent e
JOIN billing_usageseries s ON s.tenant_id = e.tenant_id AND s.hash = e.series_hash
LEFT JOIN billing_hold h ON h.tenant_id = e.tenant_id AND h.id = e.hold_id
LEFT JOIN billing_usagebatch b ON b.tenant_id = e.tenant_id AND b.id = e.batch_id
WHERE e.tenant_id = %(tenant)s AND e.series_hash = ANY(%(series)s::bytea[]) AND e.period = %(period)s AND e.day >= %(month)s AND e.day < (%(month)s::date + interval '1 month')
  AND e.started_at >= %(starts)s AND e.started_at < %(ends)s
  AND e.project_id = %(project)s AND e.meter_id = %(meter)s AND e.price_id IS NOT DISTINCT FROM %(price)s AND e.rate_id IS NOT DISTINCT FROM %(rate)s
"""
PEOPLE = f"""
SELECT coalesce(h.placed_by, b.sender, '') AS person, sum(e.billable) AS billable, sum(e.amount) AS amount, count(*) AS events
{FROM_LINE} GROUP BY 1, coalesce(h.placed_by_id, b.sender_id) ORDER BY 3 DESC, 1 LIMIT 200
"""
INTERVALS = f"""
SELECT e.series_hash, e.started_at, e.key_hash, e.part, e.ended_at, e.kind, e.measured, e.billable, e.amount, e.recorded_at,
  s.resource, s.job_id, s.attempt_id, coalesce(h.placed_by, b.sender, '') AS actor,
  coalesce(h.placed_by_id, b.sender_id) AS actor_id, s.source,
  CASE WHEN s.dims ->> 'share' ~ '^1/[0-9]{{{{1,3}}}}$' THEN s.dims ->> 'share' ELSE '1' END AS share
{FROM_LINE}  AND (%(after_series)s::bytea IS NULL
    OR (e.series_hash, e.started_at, e.key_hash, e.part) > (%(after_series)s, %(after_start)s::timestamptz, %(after_key)s::bytea, %(after_part)s))
ORDER BY {{order}} LIMIT %(limit)s OFFSET %(skip)s
"""


def _part(text: str) -> int:
    return int(text) % 2**15


@dataclass(frozen=True, slots=True)
class IntervalPosition:
    """The position of an interval in an explanation, from which the next page continues."""

    series: bytes
    start: datetime
    key: bytes
    part: int

    #: How the texts of `keys` are read again.
    KINDS: ClassVar = (bytes.fromhex, datetime.fromisoformat, bytes.fromhex, _part)

    @property
    def keys(self) -> tuple[str, ...]:
        """The position as texts, for a cursor."""
        return self.series.hex(), self.start.isoformat(), self.key.hex(), str(self.part)


@dataclass(frozen=True, slots=True)
class Share:
    """The share of one attempt (or a resource without one) in a line."""

    job_id: UUID | None
    attempt_id: UUID | None
    resource: str
    measured: Decimal
    quantity: Decimal
    intervals: int
    exact: Money


@dataclass(frozen=True, slots=True)
class PersonShare:
    """The share of one person or key in a line; no name if unknown."""

    person: str
    quantity: Decimal
    exact: Money
    intervals: int


@dataclass(frozen=True, slots=True)
class IntervalView:
    """One stored segment of usage, or its adjustment. `share`: what part of a unit was used over its time, such as `1/2`."""

    id: str
    starts_at: datetime
    ends_at: datetime
    kind: str
    measured: Decimal
    billable: Decimal
    exact: Money
    recorded_at: datetime
    resource: str
    job_id: UUID | None
    attempt_id: UUID | None
    actor: str
    actor_id: UUID | None
    source: str
    share: str
    place: IntervalPosition

    @property
    def took(self) -> timedelta:
        """Its duration; for a count, how long it took."""
        return self.ends_at - self.starts_at

    @property
    def excluded(self) -> Decimal:
        """Units measured and not charged."""
        return self.measured - self.billable if self.kind == "usage" else Decimal(0)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A line with its shares and one page of its intervals, which follow attempt by attempt."""

    invoice: InvoiceView
    line: InvoiceLine
    shares: list[Share]
    intervals: list[IntervalView]
    people: Sequence[PersonShare] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Narrowing:
    """What of a line to explain: a job, an attempt, a resource, or those resources that `text` is part of the name of."""

    job_id: UUID | None = None
    attempt_id: UUID | None = None
    resource: str | None = None
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalPage:
    """Which intervals to show: `limit` of them after a position; in an `order` (newest, dearest) after `skip` instead."""

    after: IntervalPosition | None = None
    limit: int = 50
    order: str = ""
    skip: int = 0


ALL_OF_IT, FIRST_PAGE = Narrowing(), IntervalPage()


def explain(
    invoice_id: UUID,
    n: int,
    only: Narrowing = ALL_OF_IT,
    page: IntervalPage = FIRST_PAGE,
    *,
    people: bool = False,
) -> Explanation:
    """Return line `n` down to a page of its intervals; `people` adds the sums by who asked or reported.

    Raises NotFound for a foreign or missing invoice or line.
    """
    place = page.after
    view, lines = with_lines(invoice_id)
    line = line_of(lines, n)
    if line.kind not in (USAGE, CORRECTION):
        return Explanation(view, line, [], [])  # an adjustment counts other lines
    month = line.origin or view.period
    arguments: dict[str, Any] = {
        "tenant": current_tenant_id(),
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
        "job": only.job_id,
        "attempt": only.attempt_id,
        "resource": only.resource,
        "limit": page.limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(SHARES, arguments)
        rows = _called(named_rows(cursor), only.text)
        arguments |= {
            "skip": min(page.skip, DEEPEST),
            "series": [bytes(row.hash) for row in rows],
            "after_series": place.series if place else None,
            "after_start": place.start if place else None,
            "after_key": place.key if place else None,
            "after_part": place.part if place else 0,
        }
        shown_people = []
        if people:
            cursor.execute(PEOPLE, arguments)
            shown_people = [
                PersonShare(row.person, row.billable, Money(row.amount, line.amount.currency), row.events)
                for row in named_rows(cursor)
            ]
        cursor.execute(INTERVALS.format(order=ORDERS.get(page.order, ORDERS[""])), arguments)
        intervals = [_interval(row, line.amount.currency) for row in named_rows(cursor)]
    shares = [
        Share(
            job_id=row.job_id,
            attempt_id=row.attempt_id,
            resource=row.resource,
            measured=row.measured,
            quantity=row.billable,
            intervals=int(row.events),
            exact=Money(row.amount, line.amount.currency),
        )
        for row in rows
    ]
    return Explanation(view, line, shares, intervals, shown_people)


def _called(rows: list[Any], text: str) -> list[Any]:
    """Return the series whose resource name contains the text; all without a text."""
    if not text:
        return rows
    names, wanted = resource_names(row.resource for row in rows), text.casefold()
    return [
        row
        for row in rows
        if wanted in f"{row.resource} {names.get(row.resource, '')} {row.attempt_id or ''}".casefold()
    ]


def _interval(row: Any, currency: str) -> IntervalView:
    """Return the interval from a row of INTERVALS."""
    place = IntervalPosition(bytes(row.series_hash), row.started_at, bytes(row.key_hash), row.part)
    return IntervalView(
        id=f"{place.key.hex()}-{row.part}",
        starts_at=row.started_at,
        ends_at=row.ended_at,
        kind=row.kind,
        measured=row.measured,
        billable=row.billable,
        exact=Money(row.amount, currency),
        recorded_at=row.recorded_at,
        resource=row.resource,
        job_id=row.job_id,
        attempt_id=row.attempt_id,
        actor=row.actor,
        actor_id=row.actor_id,
        source=row.source,
        share=row.share,
        place=place,
    )
