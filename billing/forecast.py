"""Forecast of a month's spending at the current pace. Pure."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from billing.money import Money
from billing.rating.calendar import next_period


def at_month_end(spent: Money, period: date, day: date) -> Money:
    """Return the month's total cost at the current pace.

    `spent` is the cost of `period` up to and including local `day`. A past month costs what it cost. The pace is that
    of whole days, the running one included.
    """
    length = (next_period(period) - period).days
    elapsed = min((day - period).days + 1, length)
    return spent * (Decimal(length) / elapsed) if 0 < elapsed < length else spent
