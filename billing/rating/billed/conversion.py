"""Conversion between currencies, when usage is accepted; a bill itself has one currency and refuses any other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.money import Money


@dataclass(frozen=True, slots=True)
class Converted:
    """An amount in the contract's currency, with what its segment stores to explain it.

    `rate` is how much of the contract's currency one unit of the source's buys, `rate_at` when that rate was fixed.
    """

    amount: Money
    source: Money
    rate: Decimal
    rate_at: datetime


def convert(source: Money, currency: str, rate: Decimal, at: datetime) -> Converted:
    """Return the exact amount in `currency`, with twelve decimals, rounded half-even.

    Raises ValueError for a rate that is not positive or whose time has no zone, and for a rate other than one within
    the same currency.
    """
    if not isinstance(rate, Decimal) or not rate.is_finite() or rate <= 0:
        raise ValueError("an exchange rate is a positive Decimal")
    if at.utcoffset() is None:
        raise ValueError("the time of an exchange rate has a zone")
    if source.currency == currency and rate != 1:
        raise ValueError("a currency is worth itself")
    return Converted(Money((source * rate).amount, currency), source, rate, at)
