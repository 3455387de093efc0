"""Invoices and their lines. A draft's lines are sums of roll-ups; each is rounded once, and the total adds them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.money import Money
from billing.pg_arrays import parsed
from billing.queries.calendar import tenant_today
from billing.rating.calendar import next_period, period_bounds
from billing.usage.reserved_sources import own_sources
from tenants.errors import NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

LINES = """
SELECT r.period, r.project_id, p.name AS project_name, p.slug AS project_slug, r.meter_id, m.key AS meter, m.title AS meter_title,
  m.unit, r.price_id, coalesce(pr.unit_amount, 0) AS unit_amount, coalesce(pr.dims, '{}') AS dims, v.id AS version_id,
  v.number AS version_number, v.effective_at, v.published_by, sum(r.measured) AS measured, sum(r.billable) AS billable,
  sum(r.amount) AS amount, sum(r.events) AS events,
  s.source <> ALL(%(own)s::text[]) AS outside
FROM billing_usagerollup r
JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
JOIN tenants_project p ON p.tenant_id = r.tenant_id AND p.id = r.project_id
JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id
LEFT JOIN billing_price pr ON pr.id = r.price_id
LEFT JOIN billing_priceversion v ON v.id = pr.version_id
LEFT JOIN billing_pricebook b ON b.id = v.book_id
WHERE r.tenant_id = %(tenant)s AND r.day >= %(first)s AND r.day < %(end)s AND r.period = ANY(%(periods)s::date[])
  AND coalesce(b.currency, %(currency)s) = %(currency)s
GROUP BY r.period, r.project_id, p.name, p.slug, r.meter_id, m.key, m.title, m.unit, r.price_id, pr.unit_amount, pr.dims,
  v.id, v.number, v.effective_at, v.published_by, outside
ORDER BY r.period, min(r.hour), r.project_id, m.key, r.price_id, outside
"""
INVOICES = """
SELECT id, period, starts_at, ends_at, currency, state, created_at FROM billing_invoice
WHERE tenant_id = %(tenant)s AND (%(id)s::uuid IS NULL OR id = %(id)s) AND (%(period)s::date IS NULL OR period = %(period)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(after_period)s::date IS NULL OR (period, id) < (%(after_period)s, %(after_id)s::uuid))
ORDER BY period DESC, id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One project's use of one meter at one price. `n` counts from 1, in order of first use.

    `outside`: it was reported, not measured by the platform. The two never share a line. `exact` is the unrounded sum
    of the rated usage; `amount` is it rounded half-even to the minor unit.
    """

    n: int
    project_id: UUID
    project_name: str
    project_slug: str
    meter_id: UUID
    meter: str
    meter_title: str
    unit: str
    price_id: UUID | None
    unit_amount: Decimal
    dims: Mapping[str, str]
    version_id: UUID | None
    version_number: int | None
    price_effective_at: datetime | None
    price_published_by: str
    measured: Decimal
    quantity: Decimal
    intervals: int
    exact: Money
    amount: Money
    outside: bool = False

    @property
    def unit_price(self) -> Money:
        """What one unit costs."""
        return Money(self.unit_amount, self.amount.currency)


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """An invoice. The total is the sum of its rounded lines; `quantities` are sums by unit, which never add up."""

    id: UUID | None
    period: date
    starts_at: datetime
    ends_at: datetime
    currency: str
    state: str
    created_at: datetime | None
    line_count: int
    quantities: Mapping[str, Decimal]
    exact: Money
    total: Money


def draft_invoice() -> InvoiceView:
    """Return the running month's draft; without usage an empty one with no id."""
    at = tenant_today()
    found = _invoices(period=at.period, currency=at.currency, state="draft", limit=1)
    if found:
        return found[0]
    starts, ends = period_bounds(at.period, at.zone)
    zero = Money.zero(at.currency)
    return InvoiceView(None, at.period, starts, ends, at.currency, "draft", None, 0, {}, zero, zero)


def invoices(
    *,
    after: tuple[date, UUID] | None = None,
    limit: int = 50,
    state: str | None = None,
    period: date | None = None,
) -> list[InvoiceView]:
    """Return invoices by newest period, of one state or month if given.

    `after` is the (period, id) of the previous page's last.
    """
    return _invoices(after=after, limit=limit, state=state, period=period)


def invoice(invoice_id: UUID) -> InvoiceView:
    """Return one invoice. Raises NotFound."""
    found = _invoices(invoice_id=invoice_id, limit=1)
    if not found:
        raise NotFound
    return found[0]


def invoice_lines(invoice_id: UUID) -> list[InvoiceLine]:
    """Return an invoice's lines in order. Raises NotFound."""
    view = _rows(invoice_id=invoice_id, limit=1)
    if not view:
        raise NotFound
    return lines_of([view[0].period], view[0].currency)[view[0].period]


def invoice_line(invoice_id: UUID, n: int) -> InvoiceLine:
    """Return line `n` of an invoice. Raises NotFound."""
    for line in invoice_lines(invoice_id):
        if line.n == n:
            return line
    raise NotFound


def lines_of(periods: Sequence[date], currency: str) -> dict[date, list[InvoiceLine]]:
    """Return the lines of these months in one currency, by month."""
    result: dict[date, list[InvoiceLine]] = {period: [] for period in periods}
    if not periods:
        return result
    arguments: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "first": min(periods),
        "end": next_period(max(periods)),
        "periods": list(periods),
        "currency": currency,
        "own": own_sources(),
    }
    with connection.cursor() as cursor:
        cursor.execute(LINES, arguments)
        for row in named_rows(cursor):
            lines = result[row.period]
            lines.append(_line(len(lines) + 1, row, Money(row.amount, currency)))
    return result


def _line(n: int, row: Any, exact: Money) -> InvoiceLine:
    """Return line `n` from a row of LINES."""
    return InvoiceLine(
        n=n,
        project_id=row.project_id,
        project_name=row.project_name,
        project_slug=row.project_slug,
        meter_id=row.meter_id,
        meter=row.meter,
        meter_title=row.meter_title,
        unit=row.unit,
        price_id=row.price_id,
        unit_amount=row.unit_amount,
        dims=parsed(row.dims),
        version_id=row.version_id,
        version_number=row.version_number,
        price_effective_at=row.effective_at,
        price_published_by=row.published_by or "",
        measured=row.measured,
        quantity=row.billable,
        intervals=int(row.events),
        exact=exact,
        amount=exact.rounded(),
        outside=row.outside,
    )


def _by_unit(lines: Sequence[InvoiceLine]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for line in lines:
        sums[line.unit] = sums.get(line.unit, Decimal(0)) + line.quantity
    return sums


def _rows(
    *,
    invoice_id: UUID | None = None,
    period: date | None = None,
    state: str | None = None,
    after: tuple[date, UUID] | None = None,
    limit: int,
) -> list[Any]:
    last_period, last_id = after or (None, None)
    arguments = {
        "tenant": current_tenant_id(),
        "id": invoice_id,
        "period": period,
        "state": state,
        "after_period": last_period,
        "after_id": last_id,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(INVOICES, arguments)
        return named_rows(cursor)


def _invoices(*, currency: str | None = None, **chosen: Any) -> list[InvoiceView]:
    rows = [row for row in _rows(**chosen) if currency is None or row.currency == currency]
    lines: dict[tuple[date, str], list[InvoiceLine]] = {}
    for money in {row.currency for row in rows}:
        found = lines_of([row.period for row in rows if row.currency == money], money)
        lines |= {(period, money): listed for period, listed in found.items()}
    views = []
    for row in rows:
        listed = lines[row.period, row.currency]
        zero = Money.zero(row.currency)
        views.append(
            InvoiceView(
                id=row.id,
                period=row.period,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                currency=row.currency,
                state=row.state,
                created_at=row.created_at,
                line_count=len(listed),
                quantities=_by_unit(listed),
                exact=sum((line.exact for line in listed), zero),
                total=sum((line.amount for line in listed), zero),
            )
        )
    return views
