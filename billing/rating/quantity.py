"""Quantities of time, exact to the microsecond, and which usage is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

MICROSECOND = timedelta(microseconds=1)
LONGEST_INTERVAL = timedelta(hours=24)
FUTURE_LIMIT = timedelta(minutes=5)


def seconds_between(start: datetime, end: datetime) -> Decimal:
    """Return the seconds of `[start, end)` with six decimals, without ever touching a float."""
    return Decimal((end - start) // MICROSECOND).scaleb(-6)


def seconds_delta(seconds: Decimal) -> timedelta:
    """Return a span of `seconds`, cut down to whole microseconds."""
    return timedelta(microseconds=int(seconds.scaleb(6)))


def refusal(start: datetime, end: datetime, now: datetime) -> str | None:
    """Say why the interval cannot be usage at database time `now`; None when it can.

    Refused: times without a zone, empty or negative intervals, more than 24 hours, an end more
    than five minutes ahead.
    """
    if start.utcoffset() is None or end.utcoffset() is None:
        return "the times carry no zone"
    if end <= start:
        return "the interval is empty or negative"
    if end - start > LONGEST_INTERVAL:
        return "the interval is longer than 24 hours"
    if end > now + FUTURE_LIMIT:
        return "the interval ends more than 5 minutes in the future"
    return None
