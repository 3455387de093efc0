"""What each project is shown for a month: its usage by the showback book, beside what the contract charged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from uuid import UUID

from django.db import connection

from billing.models import ShowbackPrice
from billing.money import Money
from billing.pg_arrays import parsed
from billing.queries.books import by_meter_of, named_values
from billing.queries.calendar import tenant_today
from billing.queries.prices import PriceView, meters
from billing.rating.flat import charge
from billing.rating.new_price import NewPrice
from tenants.isolation.scoping import current_tenant_id

#: Stated in the currency of today.
TODAYS = ""
# Of each series only the dimensions whose values the book names: all others change no price.
SUMS = """
SELECT span.currency, u.project_id, p.name, u.meter, d.dims::text, sum(u.billable), sum(u.amount)
FROM tenants_tenant t
CROSS JOIN LATERAL (SELECT coalesce(%(month)s::date, date_trunc('month', exchequer_now() AT TIME ZONE t.timezone)::date) AS first OFFSET 0) m
CROSS JOIN LATERAL (SELECT m.first, billing_currency(t.id, m.first) AS currency OFFSET 0) span
CROSS JOIN LATERAL (SELECT r.tenant_id, r.project_id, r.series_hash, m.key AS meter, sum(CASE WHEN r.price_id IS NULL THEN r.measured ELSE r.billable END) AS billable, sum(r.amount) AS amount
      FROM billing_usagerollup r JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id
      WHERE r.tenant_id = %(tenant)s AND r.day >= span.first AND r.day < span.first + interval '1 month' GROUP BY 1, 2, 3, 4) u
JOIN tenants_project p ON p.tenant_id = u.tenant_id AND p.id = u.project_id
JOIN billing_usageseries s ON s.tenant_id = u.tenant_id AND s.hash = u.series_hash
CROSS JOIN LATERAL (SELECT coalesce(jsonb_object_agg(n.key, s.dims ->> n.key), '{}') AS dims
  FROM jsonb_each(%(named)s::jsonb) n WHERE n.value ? (s.dims ->> n.key)) d
WHERE t.id = %(tenant)s GROUP BY 1, 2, 3, 4, 5
"""


@dataclass(frozen=True, slots=True)
class ShowbackRow:
    """A project's month: `cost` by the contract, `shown` by the showback book."""

    project_id: UUID
    project: str
    cost: Money
    shown: Money

    @property
    def difference(self) -> Money:
        """What is shown beyond the cost."""
        return self.shown - self.cost


def showback_prices() -> list[PriceView]:
    """Return the prices of the showback book in today's currency, by meter and amount."""
    at = tenant_today()
    names = {meter.key: (meter.title, meter.unit) for meter in meters()}
    rows = ShowbackPrice.objects.order_by("meter", "unit_amount", "id")
    return [
        PriceView(row.id, row.meter, *names.get(row.meter, (row.meter, "unit")), row.dims, amount, at.currency)
        for row in rows
        for amount in [at.currencies.restated(row.unit_amount, row.currency, at.currency)]
    ]


def showback(month: date | None = None, prices: Sequence[NewPrice] | None = None) -> list[ShowbackRow]:
    """Return each project with usage in a month (its first day; default: the running one), the dearest first.

    By the prices of the book, or by these, in the month's currency. Usage that they do not price is shown at its cost.
    """
    if prices is None:
        book = [(NewPrice(row.meter, row.dims, row.unit_amount), row.currency) for row in ShowbackPrice.objects.all()]
    else:
        book = [(one, TODAYS) for one in prices]
    with connection.cursor() as cursor:
        named = json.dumps(named_values([price for price, _ in book]))
        cursor.execute(SUMS, {"tenant": current_tenant_id(), "month": month, "named": named})
        rows = cursor.fetchall()
    if not rows:
        return []
    currency = rows[0][0]
    by_meter = by_meter_of([_restated(price, stated, currency) for price, stated in book])
    cost: dict[tuple[UUID, str], Decimal] = {}
    shown: dict[tuple[UUID, str], Decimal] = {}
    for _, project_id, project, meter, dims, quantity, amount in rows:
        entry = by_meter[meter].find(parsed(dims)) if meter in by_meter else None
        key = (project_id, project)
        cost[key] = cost.get(key, Decimal(0)) + amount
        shown[key] = shown.get(key, Decimal(0)) + (charge(quantity, entry.unit_amount) if entry else amount)
    found = [ShowbackRow(*key, Money(cost[key], currency), Money(shown[key], currency)) for key in cost]
    return sorted(found, key=lambda row: (-row.shown.amount, row.project))


def _restated(price: NewPrice, stated: str, wanted: str) -> NewPrice:
    """Return a price in the currency of a month; most tenants never change theirs, and need no look."""
    if stated == wanted:
        return price
    at = tenant_today()
    return replace(price, unit_amount=at.currencies.restated(price.unit_amount, stated or at.currency, wanted))
