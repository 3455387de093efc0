"""Forecast of a period's spending at the current pace. Pure."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from billing.money import Money
from billing.rating.calendar import span_end


def at_end(spent: Money, period: date, length: str, day: date) -> Money:
    """Return the total cost of a month, quarter or year at the current pace.

    `spent` is the cost of the period from its first day `period` up to and including local `day`. A past period costs
    what it cost. The pace is that of whole days, the running one included.
    """
    days = (span_end(period, length) - period).days
    elapsed = min((day - period).days + 1, days)
    return spent * (Decimal(days) / elapsed) if 0 < elapsed < days else spent
