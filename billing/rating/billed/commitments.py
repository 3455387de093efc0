"""Commitments and minimums: a line for what was promised and not spent.

A commitment is Lago's minimum commitment with its true-up: it compares spend before discounts, because a discount is
granted on top of the commitment, and its shortfall is not discounted. A minimum is the least amount of the bill itself,
after discounts. Terms for some meters or projects come first, so that one for everything counts their shortfalls.

Late usage counts where it is billed. What a correction refunds does not: the shortfall would take it back.

A shortfall belongs to no project: nobody's usage caused it. It is rounded once, on its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from billing.money import Money
from billing.rating.billed.lines import Kind, Line, RunningBill, line_key
from billing.rating.billed.terms import Commitment, Minimum
from billing.rating.billed.usage import WHOLE


def add_commitments(bill: RunningBill, commitments: Sequence[Commitment]) -> None:
    """Append the shortfall of each commitment that this period closes."""
    for term in sorted(commitments, key=lambda one: one.scope.everything):
        if term.closes:
            earlier = Money(term.earlier, bill.currency)
            _add_shortfall(bill, Kind.COMMITMENT, term.key, bill.spent(term.scope) + earlier, term.amount)


def add_minimums(bill: RunningBill, minimums: Sequence[Minimum]) -> None:
    """Append what is missing to each minimum."""
    for term in sorted(minimums, key=lambda one: one.scope.everything):
        _add_shortfall(bill, Kind.MINIMUM, term.key, bill.spent(term.scope), term.amount)


def _add_shortfall(bill: RunningBill, kind: Kind, term: str, spent: Money, promised: Decimal) -> None:
    missing = Money(promised, bill.currency) - spent
    if missing.amount > 0:
        bill.add(Line(kind, line_key(kind, term, WHOLE), missing, missing.rounded(), term=term, base=spent))
