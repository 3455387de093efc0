"""Compute months again from the stored segments, by SQL and the re-rater, without any code that bills."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from tests.support.billing.rerater import Rerated, c12

#: Segments never cross a quarter hour, so each lies in one local month and one hour.
SEGMENTS = """
SELECT project_id, price_id, date_trunc('hour', started_at), sum(amount), sum(billable) FROM billing_usageevent
WHERE date_trunc('month', started_at AT TIME ZONE %s)::date = %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
PRICED = """
SELECT e.project_id, e.price_id, e.started_at, e.billable, p.unit_amount FROM billing_usageevent e JOIN billing_price p ON p.id = e.price_id
WHERE date_trunc('month', e.started_at AT TIME ZONE 'UTC')::date = %s ORDER BY e.started_at
"""
RATES = "SELECT valid_from, rate FROM billing_exchangerate WHERE source = %s AND target = 'EUR' ORDER BY valid_from"


def rerated(zone: str, month: date, terms: dict[str, Any], tax: dict[str, Any] | None = None) -> Rerated:
    """Return the bill of a local month of the open scope's tenant: device seconds alone."""
    starts, ends = bounds(zone, month)
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    with connection.cursor() as cursor:
        cursor.execute(SEGMENTS, [zone, month])
        rows = cursor.fetchall()
    for project, price, hour, amount, quantity in rows:
        key = (str(project), str(price))
        new = {"key": "|".join(key), "project": key[0], "price": key[1], "amount": 0, "quantity": 0, "hours": {}}
        line = lines.setdefault(key, new)
        line["amount"] += amount
        line["quantity"] += quantity
        # Where a month ends within an hour, that part belongs to the hour in which it began.
        named = starts.replace(minute=0) if ends.minute and hour == ends.replace(minute=0) else hour
        line["hours"][named.isoformat()] = line["hours"].get(named.isoformat(), 0) + amount
    usage = [
        {
            **line, "meter": "device_seconds", "origin": None, "amount": str(line["amount"]), "quantity": str(line["quantity"]),
            "hours": [(hour, str(amount)) for hour, amount in line["hours"].items()],
        }
        for line in lines.values()
    ]  # fmt: skip
    last = f"{month.replace(day=monthrange(month.year, month.month)[1])}"
    return Rerated({"usage": usage, "terms": {"currency": "EUR", **terms}, "credits": [], "tax": tax, "at": last})


def in_euros(month: date, source: str = "USD") -> dict[tuple[str, str, str], Fraction]:
    """Return what usage of a month in UTC comes to by project, price and rate, from quantities, prices and rates alone."""
    with connection.cursor() as cursor:
        cursor.execute(PRICED, [month])
        segments = cursor.fetchall()
        cursor.execute(RATES, [source])
        rates = [(start, Fraction(rate)) for start, rate in cursor.fetchall()]
    sums: dict[tuple[str, str, str], Fraction] = {}
    for project, price, start, billable, unit_amount in segments:
        rate = [value for begins, value in rates if begins <= start][-1]
        key = (str(project), str(price), str(rate))
        sums[key] = sums.get(key, Fraction(0)) + c12(Fraction(billable) * Fraction(unit_amount) * rate)
    return sums


def bounds(zone: str, month: date) -> tuple[datetime, datetime]:
    """Return the start of a month and of the next one in a zone, in UTC."""
    following = (month + timedelta(days=32)).replace(day=1)
    first, last = (
        datetime(one.year, one.month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) for one in (month, following)
    )
    return first, last


def taxed(seller: str, buyer: str, percent: str, tax_id: str | None = None) -> dict[str, Any]:
    """Return the tax of the re-rater: one rate, which is the buyer's."""
    rate = {"country": buyer, "percent": percent, "product": "standard", "starts_on": "2000-01-01", "ends_on": None}
    return {
        "seller": seller, "buyer": buyer, "tax_id": tax_id, "exempt": False, "products": {}, "rates": [rate],
    }  # fmt: skip
