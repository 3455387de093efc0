"""Tax of a part of a line, for credit notes. Pure."""

from __future__ import annotations

from decimal import localcontext

from billing.money import EXACT, Money


def tax_of_part(tax: Money, whole: Money, part: Money) -> Money:
    """Return the tax of a part of a taxed amount, half-even to the minor unit; of the whole it is all of the tax.

    Credits of a line in parts take the difference of two such sums, so that together they never exceed its tax.
    """
    if not whole or part == whole:
        return tax if part == whole else Money.zero(tax.currency)
    with localcontext(EXACT):
        return Money(tax.amount * part.amount / whole.amount, tax.currency).rounded()
