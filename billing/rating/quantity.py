"""Quantities of time, exact to the microsecond, also of a part of a unit, in thousandths; counts; and why usage is refused."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction

WHOLE = 1000
"""All of a unit, in thousandths."""
SHARE = "share"
"""The dimension by which usage of less than a whole says so."""
MICROSECOND = timedelta(microseconds=1)
LONGEST_INTERVAL = timedelta(hours=24)
FUTURE_LIMIT = timedelta(minutes=5)
LARGEST_COUNT = Decimal(10) ** 12
# Raises for a count that would be rounded. Uses no more memory than the number itself.
_EXACT = Context(prec=20, traps=[Inexact, InvalidOperation])


def seconds_between(start: datetime, end: datetime) -> Decimal:
    """Return the seconds of `[start, end)` with six decimals, without using a float."""
    return seconds_of(end - start)


def seconds_of(span: timedelta) -> Decimal:
    """Return the seconds of a span with six decimals."""
    return Decimal(span // MICROSECOND).scaleb(-6)


def seconds_of_part(span: timedelta, share: int) -> Decimal:
    """Return what `share` thousandths of a unit count for over a span, in seconds of a whole one, with nine decimals."""
    return Decimal(span // MICROSECOND * share).scaleb(-9) if share != WHOLE else seconds_of(span)


def share_said(share: int) -> str:
    """Return thousandths as a fraction: `1/4`; `1` for a whole."""
    return str(Fraction(share, WHOLE))


def share_of(said: str) -> int | None:
    """Return the thousandths of a fraction as `share_said` writes it, such as `1/4`; None for any other text."""
    one, _, parts = said.partition("/")
    if one != "1" or not re.fullmatch("[1-9][0-9]{0,2}", parts or "1") or WHOLE % int(parts or "1"):
        return None
    return WHOLE // int(parts or "1")


def share_dims(share: int) -> dict[str, str]:
    """Return the dimension of usage of so many thousandths; none of a whole unit."""
    return {} if share == WHOLE else {SHARE: share_said(share)}


def share_refusal(share: int, dimension: str | None, *, counted: bool) -> str | None:
    """Return why usage cannot be of so many thousandths, given its dimension; None if it can."""
    if share == WHOLE:
        return None
    if counted or not 0 < share < WHOLE:
        return "only time is used in parts, and a part is less than a whole"
    return None if dimension == share_said(share) else f"its dimension {SHARE} does not say {share_said(share)}"


def seconds_delta(seconds: Decimal) -> timedelta:
    """Return a span of `seconds`, rounded down to whole microseconds."""
    return timedelta(microseconds=int(seconds.scaleb(6)))


def count_refusal(quantity: Decimal | None, *, timed: bool) -> str | None:
    """Return why a quantity is refused: a meter of time measures its own, any other needs a positive count."""
    if timed:
        return None if quantity is None else "the meter counts seconds: leave the quantity out"
    if quantity is None:
        return "the meter counts units: give the quantity"
    if not (quantity.is_finite() and 0 < quantity <= LARGEST_COUNT):
        return "the quantity is not a positive number of at most 10^12"
    return None if _has_six_decimals(quantity) else "the quantity has more than six decimals"


def refusal(start: datetime, end: datetime, now: datetime) -> str | None:
    """Return why the interval cannot be usage at database time `now`; None if it can.

    Refused: times without a zone, empty or negative intervals, more than 24 hours, an end more than five minutes ahead.
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


def _has_six_decimals(quantity: Decimal) -> bool:
    try:
        quantity.scaleb(6, _EXACT).to_integral_exact(context=_EXACT)
    except (Inexact, InvalidOperation):
        return False
    return True
