"""Amounts as Stripe counts them, which differs from ISO 4217 for a few currencies. Pure."""

from __future__ import annotations

from decimal import Decimal

from billing.money import EXACT, Money, minor_decimals
from billing.payments.errors import GatewayRefused

#: Stripe's decimals where they are not those of ISO 4217.
DECIMALS = {"ISK": 2, "MGA": 0, "UGX": 2}
#: Stripe accepts only multiples of these.
STEPS = {"ISK": 100, "UGX": 100}


def to_stripe(money: Money) -> int:
    """Return an amount in Stripe's minor units. Raises `GatewayRefused` if Stripe cannot collect it exactly."""
    units = money.amount.scaleb(_decimals(money.currency), EXACT)
    step = STEPS.get(money.currency, 10 if _decimals(money.currency) == 3 else 1)
    if units != units.to_integral_value() or int(units) % step:
        raise GatewayRefused(
            f"Stripe cannot collect exactly {money.plain()}: it counts {money.currency} in larger steps.",
            reason="amount_too_fine",
        )
    return int(units)


def from_stripe(units: int, currency: str) -> Money:
    """Return an amount given in Stripe's minor units; `currency` in any case."""
    code = currency.upper()
    return Money(Decimal(units).scaleb(-_decimals(code), EXACT), code)


def _decimals(currency: str) -> int:
    return DECIMALS.get(currency, minor_decimals(currency))
