"""Flat rating: quantity times unit amount."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from billing.money import EXACT, computed

QUANTITY_QUANTUM = Decimal("0.000001")
LARGEST_CHARGE = Decimal(10) ** 12
"""Maximum charge of one reported event. `numeric(38,12)` then holds the sum of more of them than can ever be sent."""


def charge(quantity: Decimal, unit_amount: Decimal) -> Decimal:
    """Return the amount for `quantity` units, with twelve decimals.

    Raises ValueError for a negative or non-finite argument: credits are entries of another kind.
    """
    for value in (quantity, unit_amount):
        if not value.is_finite() or value < 0:
            raise ValueError("quantity and unit amount are finite and not negative")
    return computed(EXACT.multiply(quantity, unit_amount))


def affordable(left: Decimal, unit_amount: Decimal, wanted: Decimal, quantum: Decimal = QUANTITY_QUANTUM) -> Decimal:
    """Return how many units, at most `wanted` and in steps of `quantum`, cost no more than `left`."""
    if left <= 0:
        return Decimal(0) if unit_amount > 0 else wanted
    if unit_amount == 0 or charge(wanted, unit_amount) <= left:
        return wanted
    fits = EXACT.divide(left, unit_amount).quantize(quantum, ROUND_FLOOR, EXACT)
    # The charge is rounded half-even at the twelfth decimal and may exceed `left` by that much.
    while fits > 0 and charge(fits, unit_amount) > left:
        fits -= quantum
    return max(fits, Decimal(0))
