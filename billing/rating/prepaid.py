"""What prepaid credit still pays for, in usage before tax. Pure.

A promotional credit pays for usage of a month whose last day it can be used on. One that ends earlier still pays for
the month before while its invoice is a draft; what it pays of the month in which it ends, only that month's bill knows. Credit with a scope is left out: it may pay for nothing that is asked for.
Paid credit pays tax too, and so does promotional credit where the contract says `paid_first`. Shortfalls of commitments
and minimums, which only the bill of a whole month knows, are left out; what they add is due like any invoice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.money import EXACT, computed
from billing.rating.billed.credits import Credit, CreditKind

ZERO = Decimal(0)
ALL = Decimal(100)


@dataclass(frozen=True, slots=True)
class OpenMonths:
    """The last day of the running month; and that of the month before it, with its unbilled usage if that is a draft."""

    last: date
    before: date
    unbilled: Decimal = ZERO


def usage_covered(credits: Sequence[Credit], months: OpenMonths, tax: Decimal, *, paid_first: bool = False) -> Decimal:
    """Return how much usage of open months credit pays for, at a tax rate in per cent."""
    paid = promotional = ending = ZERO
    for credit in credits:
        if not credit.scope.everything:
            continue
        usable = _usable(credit, months.last)
        if credit.kind is CreditKind.PAID:
            paid += credit.left.amount if usable else ZERO
        elif usable:
            promotional += credit.left.amount
        elif _usable(credit, months.before):
            ending += credit.left.amount
    promotional += min(ending, months.unbilled)
    taxed, untaxed = (paid + promotional, ZERO) if paid_first else (paid, promotional)
    return untaxed + computed(EXACT.divide(taxed * ALL, ALL + tax))


def _usable(credit: Credit, at: date) -> bool:
    return credit.starts_on <= at and (credit.expires_on is None or at < credit.expires_on)
