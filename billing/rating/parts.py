"""A part of a unit that is used for a time, such as a quarter of what a meter measures. Exact: in thousandths."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from billing.money import EXACT
from billing.rating.quantity import seconds_of

WHOLE = 1000
"""All of a unit, in thousandths."""
DIMENSION = "share"
"""The dimension by which usage of less than a whole says so."""


def seconds_of_part(span: timedelta, share: int) -> Decimal:
    """Return what `share` thousandths of a unit count for over a span, in seconds of a whole one, with nine decimals."""
    return seconds_of(span) if share == WHOLE else EXACT.multiply(seconds_of(span), Decimal(share).scaleb(-3))


def said(share: int) -> str:
    """Return thousandths as a fraction: `1/4`; `1` for a whole."""
    return str(Fraction(share, WHOLE))


def dims_of(share: int) -> dict[str, str]:
    """Return the dimension of usage of so many thousandths; none of a whole unit."""
    return {} if share == WHOLE else {DIMENSION: said(share)}


def refusal(share: int, dimension: str | None, *, counted: bool) -> str | None:
    """Return why usage cannot be of so many thousandths, given its dimension; None if it can."""
    if share == WHOLE:
        return None
    if counted or not 0 < share < WHOLE:
        return "only time is used in parts, and a part is less than a whole"
    return None if dimension == said(share) else f"its dimension {DIMENSION} does not say {said(share)}"
