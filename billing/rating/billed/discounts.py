"""Discounts: percentages first, then amounts, each in the order of the terms.

Each takes from what those before it left, as coupons of Stripe and Lago do. Percentages come first, because a customer
who is promised 10 % and 50.00 then gets both in full. They apply to usage, its price models and coverage; fees of savings
plans and shortfalls are committed amounts and stay as they are. None takes more than its scope still costs.

Rounding: once for each discount; then its minor units are allocated to projects and meters by what these cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from billing.money import Money
from billing.rating.billed.lines import Kind, RunningBill, percent_of
from billing.rating.billed.price_models import ZERO
from billing.rating.billed.terms import Discount


def add_discounts(bill: RunningBill, discounts: Sequence[Discount]) -> None:
    """Append the lines of each discount."""
    for discount in sorted(discounts, key=lambda one: one.percent is None):
        cells = bill.in_scope(discount.scope, usage_only=True)
        base = bill.money(max(sum(cells.values()), 0))
        if discount.percent is not None:
            taken = percent_of(base, discount.percent)
        else:
            taken = min(Money(discount.amount or ZERO, bill.currency), base)
        bill.take_off(Kind.DISCOUNT, discount.key, taken, cells, percent=discount.percent)
