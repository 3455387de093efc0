"""Lines of invoices: sums of roll-ups while a month is a draft, stored rows once it is finalised, in one shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from django.db import connection

from billing.money import Money
from billing.pg_arrays import parsed
from billing.rating.aggregation import COUNTS, HOW, SUM
from billing.rating.billed.usage import Cell
from billing.rating.hours import bucket_of
from billing.usage.month import month_bounds, usage_by_day, usage_of_month
from billing.usage.reserved_sources import own_sources
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows, prepared_cursor

USAGE, CORRECTION = "usage", "correction"
#: What a line keeps in its details where no price was in force for its usage.
NO_PRICE = {"price": "none"}
#: Project, meter, price, exchange rate, and whether it was reported from outside.
LineKey = tuple[UUID | None, UUID | None, UUID | None, UUID | None, bool]
#: What a line's price and rate are, wherever its sums `r` come from.
PRICED = """
  r.price_id, coalesce(p.unit_amount, 0) AS unit_amount, coalesce(p.dims, '{}') AS dims, r.rate_id, x.rate, x.source AS rate_source,
  x.valid_from AS rate_from, v.id AS version_id, v.number AS version_number, v.effective_at, v.published_by, r.measured, r.billable, r.amount,
  r.discount, r.events, r.origin, r.outside
"""
PRICES = """
LEFT JOIN billing_price p ON p.id = r.price_id
LEFT JOIN billing_priceversion v ON v.id = p.version_id
LEFT JOIN billing_pricebook b ON b.id = v.book_id
LEFT JOIN billing_exchangerate x ON x.id = r.rate_id
"""
# Corrections come after the month's own usage, then lines follow their first use.
COMPUTED = f"""
SELECT r.period, r.project_id, coalesce(j.name, '') AS project_name, coalesce(j.slug, '') AS project_slug, r.meter_id, m.key AS meter,
  m.title AS meter_title, m.unit, m.aggregation, {PRICED}
FROM billing_sums_of_lines(%(periods)s::date[], %(own)s::text[]) r
JOIN billing_meter m ON m.tenant_id = %(tenant)s AND m.id = r.meter_id
LEFT JOIN tenants_project j ON j.tenant_id = %(tenant)s AND j.id = r.project_id
{PRICES}
WHERE coalesce(x.target, b.currency, billing_currency(%(tenant)s, coalesce(r.origin, r.period))) = %(currency)s
ORDER BY r.period, r.origin NULLS FIRST, r.first_hour, r.project_id, m.key, r.price_id, r.rate_id, r.outside
"""  # noqa: S608 (constants)
FROZEN = """
SELECT l.invoice_id, l.id, l.n, l.kind, l.project_id, l.project_name, l.project_slug, l.meter_id, l.meter, l.meter_title, l.unit, l.price_id,
  coalesce(l.unit_amount, 0) AS unit_amount, l.dims, l.details, l.version_id, l.version_number, v.effective_at, v.published_by,
  l.origin, l.outside, l.measured, l.quantity, l.intervals, l.list_amount, l.exact_amount, l.amount, l.tax_rate, l.tax,
  coalesce(m.aggregation, 'sum') AS aggregation
FROM billing_invoiceline l LEFT JOIN billing_priceversion v ON v.id = l.version_id
LEFT JOIN billing_meter m ON m.tenant_id = l.tenant_id AND m.id = l.meter_id
WHERE l.tenant_id = %s AND l.invoice_id = ANY(%s::uuid[]) ORDER BY l.invoice_id, l.n
"""
#: What rows of both kinds name as lines do.
SHARED = (
    "project_id", "project_name", "project_slug", "meter_id", "meter", "meter_title", "unit", "price_id", "unit_amount", "version_id",
    "version_number", "measured", "outside", "origin", "aggregation",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LineRate:
    """The exchange rate of a line: one unit of `currency`, in which its price is, was worth `value` from `valid_from` on."""

    id: UUID
    currency: str
    value: Decimal
    valid_from: datetime

    def kept(self) -> dict[str, str]:
        """Return the rate as the details of its line keep it."""
        return {
            "rate_id": str(self.id),
            "rate_currency": self.currency,
            "rate": format(self.value.normalize(), "f"),
            "rate_valid_from": self.valid_from.astimezone(UTC).isoformat(),
        }


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One project's use of one meter at one price, or an adjustment. `n` counts from 1; `id` stays from draft to invoice.

    `outside`: it was reported, not measured by the platform. The two never share a line. `exact` is the unrounded sum
    of the rated usage; `amount` is it rounded half-even to the minor unit, `list_exact` the same at list prices.
    `unit_amount` is in the currency of the price, which `rate` converts where that is another than the invoice's.
    `origin`: the line corrects this month, which was closed before. `tax` is the line's part of the tax. `hours`: the amount
    by hour of UTC, where it was asked for.
    """

    id: UUID
    n: int
    kind: str
    project_id: UUID | None
    project_name: str
    project_slug: str
    meter_id: UUID | None
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
    list_exact: Money
    outside: bool = False
    origin: date | None = None
    tax_rate: Decimal | None = None
    tax: Money | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    hours: tuple[tuple[datetime, Decimal], ...] = ()
    aggregation: str = SUM

    @property
    def counts(self) -> str:
        """What the quantity is, in words; nothing for a sum."""
        return COUNTS.get(self.aggregation, "")

    @property
    def how(self) -> str:
        """How the quantity is made of readings; nothing for a sum."""
        return HOW.get(self.aggregation, "")

    @property
    def unpriced(self) -> bool:
        """Whether no price was in force for its usage, which is measured and free; older invoices do not state it."""
        return self.details.get("price") == NO_PRICE["price"]

    @property
    def used(self) -> Decimal:
        """The quantity as documents show it: what is charged, or what was measured where no price was in force."""
        return self.measured if self.unpriced else self.quantity

    @property
    def term(self) -> str:
        """What an adjustment is by: why there is the credit, or the name of the contract's term; empty for others."""
        return str(self.details.get("reason") or self.details.get("term") or "")

    @property
    def rate(self) -> LineRate | None:
        """The exchange rate that converted it; None for a price in the invoice's currency."""
        if "rate_id" not in self.details:
            return None
        of = self.details
        start = datetime.fromisoformat(of["rate_valid_from"])
        return LineRate(UUID(of["rate_id"]), of["rate_currency"], Decimal(of["rate"]), start)

    @property
    def unit_price(self) -> Money:
        """What one unit costs, in the currency of the price."""
        return Money(self.unit_amount, self.rate.currency if self.rate else self.amount.currency)

    @property
    def saving(self) -> Money | None:
        """How far its usage was rated below list prices, before rounding; None for a line at list prices."""
        return self.list_exact - self.exact if self.list_exact != self.exact else None

    @property
    def key(self) -> LineKey:
        """What its usage shares, by which sums of usage find their line."""
        return self.project_id, self.meter_id, self.price_id, self.rate.id if self.rate else None, self.outside


def computed_lines(periods: Sequence[date], currency: str) -> dict[date, list[InvoiceLine]]:
    """Return the usage lines of these months in one currency, by month; their ids are those of no invoice yet."""
    if not periods:
        return {}
    asked: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "periods": list(periods),
        "currency": currency,
        "own": own_sources(),
    }
    with prepared_cursor() as cursor:
        cursor.execute(COMPUTED, asked)
        return lines_from(named_rows(cursor), periods, currency)


def lines_from(sums: Iterable[Any], periods: Iterable[date], currency: str) -> dict[date, list[InvoiceLine]]:
    """Return the usage lines of these months from their sums in this currency, in their order."""
    result: dict[date, list[InvoiceLine]] = {period: [] for period in periods}
    for row in sums:
        lines = result[row.period]
        lines.append(_computed(len(lines) + 1, row, currency))
    return result


def with_hours(lines: Sequence[InvoiceLine], period: date) -> list[InvoiceLine]:
    """Return usage lines of a month with their amounts by its hours, as savings plans by the hour cover them."""
    starts_at, ends_at = month_bounds(period)
    amounts: dict[tuple[Any, ...], dict[datetime, Decimal]] = {}
    for row in usage_of_month(period, hourly=True):
        hours = amounts.setdefault((row.project_id, row.meter_id, row.price_id, row.rate_id, row.outside), {})
        hour = bucket_of(row.hour or starts_at, starts_at, ends_at)
        hours[hour] = hours.get(hour, Decimal(0)) + row.amount
    return [
        line if line.origin or line.hours else replace(line, hours=tuple(sorted(amounts.get(line.key, {}).items())))
        for line in lines
    ]


def used_by_day(lines: Sequence[InvoiceLine], period: date) -> dict[tuple[Cell, date], Decimal]:
    """Return the amounts of a month's own usage by project and meter, and by the day that it was used on, as stored."""
    cells = {line.key: (line.project_id, line.meter) for line in lines if not line.origin}
    found = dict[tuple[Cell, date], Decimal]()
    for key, day, amount in usage_by_day(period):
        if key in cells:  # others are billed in another currency
            at = cells[key], day
            found[at] = found.get(at, Decimal(0)) + amount
    return found


def of_invoice(invoice_id: UUID, lines: Iterable[InvoiceLine]) -> list[InvoiceLine]:
    """Return a draft's lines with the ids that they have on its invoice."""
    return [replace(line, id=uuid5(invoice_id, _mark(line))) for line in lines]


def frozen_lines(invoices: Mapping[UUID, str]) -> dict[UUID, list[InvoiceLine]]:
    """Return the stored lines of these standing invoices, given with their currencies."""
    result: dict[UUID, list[InvoiceLine]] = {invoice_id: [] for invoice_id in invoices}
    if not invoices:
        return result
    with connection.cursor() as cursor:
        cursor.execute(FROZEN, [current_tenant_id(), list(invoices)])
        for row in named_rows(cursor):
            result[row.invoice_id].append(_frozen(row, invoices[row.invoice_id]))
    return result


def _mark(line: InvoiceLine) -> str:
    """Return the text that identifies a line within its invoice."""
    parts = (
        line.kind,
        line.project_id,
        line.meter_id,
        line.price_id,
        line.outside,
        line.origin,
        *sorted(line.details.items()),
    )
    return "|".join(str(part) for part in parts)


def _computed(n: int, row: Any, currency: str) -> InvoiceLine:
    exact = Money(row.amount, currency)
    rate = LineRate(row.rate_id, row.rate_source, row.rate, row.rate_from).kept() if row.rate_id else {}
    return InvoiceLine(
        id=UUID(int=n),
        n=n,
        kind=CORRECTION if row.origin else USAGE,
        quantity=row.billable,
        intervals=int(row.events),
        exact=exact,
        amount=exact.rounded(),
        list_exact=Money(row.amount + row.discount, currency),
        details=rate if row.price_id else NO_PRICE,
        **_shared(row),
    )


def _frozen(row: Any, currency: str) -> InvoiceLine:
    return InvoiceLine(
        id=row.id,
        n=row.n,
        kind=row.kind,
        quantity=row.quantity,
        intervals=int(row.intervals),
        exact=Money(row.exact_amount, currency),
        amount=Money(row.amount, currency),
        list_exact=Money(row.list_amount, currency),
        tax_rate=row.tax_rate,
        tax=Money(row.tax, currency),
        details=parsed(row.details),
        **_shared(row),
    )


def _shared(row: Any) -> dict[str, Any]:
    """Return what a computed and a stored line have in common."""
    return {name: getattr(row, name) for name in SHARED} | {
        "dims": parsed(row.dims),
        "price_effective_at": row.effective_at,
        "price_published_by": row.published_by or "",
    }
