"""The open scope's tenant in time: its zone, its day, its billing period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection
from django.db.models import DateField
from django.db.models.expressions import RawSQL

from billing.rating.calendar import local_day, period_of
from billing.rating.currencies import UNKNOWN, Currencies, changes
from tenants.isolation.scoping import current_tenant_id, kept_in_scope

TODAY = f"SELECT t.timezone, t.currency, exchequer_now(), {changes('t.id')} FROM tenants_tenant t WHERE t.id = %s"  # noqa: S608
KEPT = "billing.currencies"


@dataclass(frozen=True, slots=True)
class Today:
    """The tenant's zone and currency, the database's time, and the local day and month it falls in.

    `currencies`: those of other days.
    """

    zone: str
    currency: str
    now: datetime
    day: date
    period: date
    currencies: Currencies = UNKNOWN


def tenant_today() -> Today:
    """Return the current day and month of the open scope's tenant."""
    with connection.cursor() as cursor:
        cursor.execute(TODAY, [current_tenant_id()])
        zone, currency, now, changed = cursor.fetchone()
    day, currencies = local_day(now, zone), Currencies.read(currency, changed)
    kept_in_scope()[KEPT] = currencies
    return Today(zone, currencies.of(day), now, day, period_of(day), currencies)


def tenant_currencies() -> Currencies:
    """Return the currencies of the tenant's days, read once in a scope: contracts change those of months to come alone."""
    found: Currencies | None = kept_in_scope().get(KEPT)
    return found or tenant_today().currencies


def day_in() -> RawSQL:
    """Return, as an expression, the local day of the open scope's tenant."""
    day = "SELECT (exchequer_now() AT TIME ZONE timezone)::date FROM tenants_tenant WHERE id = %s"
    return RawSQL(day, [current_tenant_id()], DateField())  # noqa: S611 (a constant)


# The name that pages use.
today = tenant_today
