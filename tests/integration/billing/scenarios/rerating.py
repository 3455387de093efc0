"""Compute months again from the stored segments, by SQL and the re-rater, without any code that bills."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from tests.support.billing.rerater import Rerated

#: Segments never cross a quarter hour, so each lies in one local month and one hour.
SEGMENTS = """
SELECT project_id, price_id, date_trunc('hour', started_at), sum(amount), sum(billable) FROM billing_usageevent
WHERE date_trunc('month', started_at AT TIME ZONE %s)::date = %s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


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
