"""The open scope's tenant in time: its zone, its day, its billing period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection

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


# The name that pages use.
today = tenant_today
