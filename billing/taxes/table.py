"""Enter and end the seller's tax rates. A rate that has begun is never edited: it ends, and another one begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from billing.models import TaxRate
from billing.rating.billed.faults import number_faults, percent_faults
from billing.rating.billed.tax import MOST_RATES, STANDARD
from billing.rating.calendar import local_day, period_of
from billing.taxes.countries import COUNTRIES, UNKNOWN
from tenants import clock
from tenants.audit import AuditAction
from tenants.errors import Conflict, Invalid, NotFound
from tenants.isolation import limits
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

TAX_RATE_ENTERED = AuditAction("billing.tax_rate.entered")
TAX_RATE_ENDED = AuditAction("billing.tax_rate.ended")
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('billing.tax_rates', 0))"


class RateEnded(Conflict):
    """This rate has ended. Bills of its time keep it."""

    code = "tax_rate_ended"


@dataclass(frozen=True, kw_only=True)
class NewRate:
    """A rate to enter; `product` is the key of a meter, or empty for all that has no rate of its own."""

    country: str
    name: str
    percent: Decimal
    starts_on: date
    ends_on: date | None = None
    product: str = ""


def enter(*, operator: Operator, rate: NewRate, reason: str) -> TaxRate:
    """Enter a rate, which may have begun: drafts follow it, finalised invoices keep their tax.

    Raises Invalid for impossible figures, and where another rate of the country and product applies in that time.
    """
    operator.require("prices.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        _lock()
        if faults := _faults(rate):
            raise Invalid(fields=faults)
        made = TaxRate.objects.create(
            country=rate.country,
            product=rate.product,
            name=rate.name.strip(),
            percent=rate.percent,
            starts_on=rate.starts_on,
            ends_on=rate.ends_on,
            entered_by=operator.label[:254],
        )
        record_act(operator, TAX_RATE_ENTERED, target=("tax_rate", made.pk, _label(made)), reason=reason)
    return made


def end(*, operator: Operator, rate_id: UUID, ends_on: date, reason: str) -> None:
    """End a rate: `ends_on` is the first day without it, at the earliest the first of last month. One to come may go.

    Raises NotFound, RateEnded, Invalid for a day before.
    """
    operator.require("prices.manage")
    reason = check_reason(reason)
    with transaction.atomic():
        _lock()
        row = TaxRate.objects.select_for_update(no_key=True).filter(pk=rate_id).first()
        if row is None:
            raise NotFound
        today = local_day(clock.now(), "UTC")
        earliest = earliest_end(today)
        if row.ends_on is not None and row.ends_on < earliest:
            raise RateEnded
        if ends_on <= row.starts_on and row.starts_on > today:
            row.delete()
        elif ends_on <= row.starts_on or ends_on < earliest:
            fault = f"Choose a day after {row.starts_on}, and not before {earliest}: earlier months are invoiced."
            raise Invalid(fields={"ends_on": [fault]})
        else:
            if _overlapping(row.country, row.product, (row.starts_on, ends_on), besides=rate_id):
                raise Invalid(fields={"ends_on": ["Another rate of this country and product begins before this day."]})
            TaxRate.objects.filter(pk=rate_id).update(ends_on=ends_on)
        record_act(operator, TAX_RATE_ENDED, target=("tax_rate", rate_id, f"{_label(row)} on {ends_on}"), reason=reason)


def earliest_end(today: date) -> date:
    """Return the earliest day on which a rate may end: invoices of last month may still be drafts."""
    return period_of(period_of(today) - timedelta(days=1))


def _lock() -> None:
    with transaction.get_connection().cursor() as cursor:
        cursor.execute(LOCK)


def _faults(rate: NewRate) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    if rate.country not in COUNTRIES:
        faults["country"] = [UNKNOWN]
    if not 1 <= len(rate.name.strip()) <= 60 or not rate.name.strip().isprintable():
        faults["name"] = ["Give the name that stands on invoices, such as VAT, at most 60 characters."]
    if len(rate.product) > 60:
        faults["product"] = ["Give the key of a meter, at most 60 characters."]
    elif rate.product == STANDARD:
        faults["product"] = ["Leave the meter empty for the rate of all that has none of its own."]
    wrong = [*percent_faults("percent", rate.percent, zero=True), *number_faults("percent", rate.percent, decimals=3)]
    if wrong:
        faults["percent"] = [wrong[0].message]
    if rate.ends_on is not None and rate.ends_on <= rate.starts_on:
        faults["ends_on"] = [f"Choose an end after {rate.starts_on}, when the rate begins."]
    elif not faults and (others := _overlapping(rate.country, rate.product, (rate.starts_on, rate.ends_on))):
        first = min(row.starts_on for row in others)
        if first > rate.starts_on:
            faults["ends_on"] = [f"Another rate of this country and product begins on {first}. End this one by then."]
        else:
            faults["starts_on"] = ["Another rate of this country and product applies then. End that one first."]
    if not faults and limits.is_full(TaxRate.objects.all(), MOST_RATES):
        faults["country"] = [f"The table holds at most {MOST_RATES} rates."]
    return faults


def _overlapping(
    country: str, product: str, time: tuple[date, date | None], besides: UUID | None = None
) -> list[TaxRate]:
    starts_on, ends_on = time
    rows = [row for row in TaxRate.objects.filter(country=country, product=product) if row.pk != besides]
    return [
        row
        for row in rows
        if (row.ends_on is None or starts_on < row.ends_on) and (ends_on is None or row.starts_on < ends_on)
    ]


def _label(row: TaxRate) -> str:
    of = f", {row.product}" if row.product else ""
    return f"{row.name} {row.percent.normalize():f} %, {row.country}{of}"
