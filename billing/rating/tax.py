"""Tax on the lines of an invoice. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext

from billing.money import EXACT, Money

PER_CENT = Decimal("0.01")


def taxed(amounts: Sequence[Money], rate: Decimal, currency: str) -> tuple[Money, list[Money]]:
    """Return the tax of these rounded amounts at one rate, in per cent, and each one's part of it.

    The tax is computed on their sum and rounded once, half-even; the parts are whole minor units and add up to it, so that
    a credit of one line takes back its part.
    """
    subtotal = sum(amounts, Money.zero(currency))
    tax = (subtotal * (rate * PER_CENT)).rounded()
    weights = [abs(amount.minor) for amount in amounts]
    if not tax:
        return tax, [Money.zero(currency) for _ in amounts]
    if all(amount.minor >= 0 for amount in amounts) or all(amount.minor <= 0 for amount in amounts):
        return tax, tax.allocate(weights)
    # With corrections in both directions each line has its own tax, and the largest takes what rounding leaves.
    parts = [(amount * (rate * PER_CENT)).rounded() for amount in amounts]
    largest = max(range(len(parts)), key=lambda number: weights[number])
    parts[largest] = parts[largest] + tax - sum(parts, Money.zero(currency))
    return tax, parts


def tax_of_part(tax: Money, whole: Money, part: Money) -> Money:
    """Return the tax of a part of a taxed amount, half-even to the minor unit; of the whole it is all of the tax.

    Credits of a line in parts take the difference of two such sums, so that together they never exceed its tax.
    """
    if not whole or part == whole:
        return tax if part == whole else Money.zero(tax.currency)
    with localcontext(EXACT):
        return Money(tax.amount * part.amount / whole.amount, tax.currency).rounded()
