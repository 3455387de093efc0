"""The open scope's tenant in time: its zone, its day, its billing period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection
from django.db.models import DateField
from django.db.models.expressions import RawSQL

from billing.rating.calendar import local_day, period_of
from tenants.isolation.scoping import current_tenant_id


@dataclass(frozen=True, slots=True)
class Today:
    """The tenant's zone and currency, the database's time, and the local day and month it falls in."""

    zone: str
    currency: str
    now: datetime
    day: date
    period: date


def tenant_today() -> Today:
    """Return the current day and month of the open scope's tenant."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT timezone, currency, exchequer_now() FROM tenants_tenant WHERE id = %s", [current_tenant_id()]
        )
        zone, currency, now = cursor.fetchone()
    day = local_day(now, zone)
    return Today(zone, currency, now, day, period_of(day))


def day_in() -> RawSQL:
    """Return, as an expression, the local day of the open scope's tenant."""
    day = "SELECT (exchequer_now() AT TIME ZONE timezone)::date FROM tenants_tenant WHERE id = %s"
    return RawSQL(day, [current_tenant_id()], DateField())  # noqa: S611 (a constant)


# The name that pages use.
today = tenant_today
