"""A month's own usage of the open scope by line, hour and dimensions; corrections of closed months are not among it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from billing.models import BillingPeriod
from billing.pg_arrays import parsed
from billing.rating.calendar import period_bounds
from billing.usage.reserved_sources import own_sources
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant

BY_DAY = """
SELECT project_id, meter_id, price_id, rate_id, outside, day, amount FROM billing_usage_by_day(%s, %s::text[])
"""
SUMS = """
SELECT project_id, meter_id, price_id, rate_id, outside, dims, hour, quantity, amount FROM billing_usage_of_month(%s, %s::text[], %s, %s)
ORDER BY project_id, meter_id, price_id, rate_id, outside, dims, hour
"""


@dataclass(frozen=True, slots=True)
class UsedInMonth:
    """Usage of one line with these dimensions, in one hour of UTC if hours were asked for; `quantity` measured if unpriced."""

    project_id: UUID
    meter_id: UUID
    price_id: UUID | None
    rate_id: UUID | None
    outside: bool
    dims: Mapping[str, str]
    hour: datetime | None
    quantity: Decimal
    amount: Decimal


def month_bounds(period: date) -> tuple[datetime, datetime]:
    """Return `[start, end)` of a month: as it was opened, and as it ended in the zone of then; else in today's."""
    stored = BillingPeriod.objects.filter(period=period).values_list("starts_at", "ends_at").first()
    return stored or period_bounds(
        period, Tenant.objects.values_list("timezone", flat=True).get(id=current_tenant_id())
    )


def usage_of_month(
    period: date, *, named: Mapping[str, Sequence[str]] | None = None, hourly: bool = False
) -> list[UsedInMonth]:
    """Return the usage of a month; `named` are the values by dimension that matter, all others are summed."""
    with connection.cursor() as cursor:
        cursor.execute(SUMS, [period, own_sources(), json.dumps(named or {}), hourly])
        rows = cursor.fetchall()
    return [
        UsedInMonth(project, meter, price, rate, outside, parsed(dims), hour, quantity, amount)
        for project, meter, price, rate, outside, dims, hour, quantity, amount in rows
    ]


def usage_by_day(period: date) -> list[tuple[tuple[UUID, UUID, UUID | None, UUID | None, bool], date, Decimal]]:
    """Return the amounts of a month's own usage by what its lines share (`InvoiceLine.key`) and by day."""
    with connection.cursor() as cursor:
        cursor.execute(BY_DAY, [period, own_sources()])
        return [(tuple(key), day, amount) for *key, day, amount in cursor.fetchall()]
