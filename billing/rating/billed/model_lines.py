"""Adjustment lines of price models: the amount under the model minus what its usage lines already bill.

All usage of the prices counts together, over the whole organisation and including reported usage, as OpenMeter and
Stripe aggregate a subscription item; a tier reached by two projects together is shared. Corrections do not count: the
tiers of a closed month are as closed as the month, so late usage costs what it was rated at.

Attribution: what is taken off follows what projects are billed, so that none falls below zero; what is added follows
quantities, because usage rated at zero still causes it. A price without usage, such as a flat one, belongs to no project.
Rounding: the difference is rounded once for each price model, then allocated in minor units.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from billing.money import EXACT, Money
from billing.rating.billed.lines import Kind, Part, RunningBill
from billing.rating.billed.price_models import ZERO, PerUnit, amount, billable, per_unit
from billing.rating.billed.terms import PriceTerms
from billing.rating.billed.usage import Cell, UsageLine


def add_models(bill: RunningBill, usage: Sequence[UsageLine], models: Sequence[PriceTerms]) -> None:
    """Append the adjustment lines of each price model, in order. Raises ValueError for usage of another meter."""
    for terms in models:
        _add_model(bill, [line for line in usage if line.origin is None and line.price_id in terms.prices], terms)


def modelled(models: Sequence[PriceTerms]) -> frozenset[object]:
    """Return the prices that a model bills, which no savings plan covers."""
    return frozenset(price for terms in models for price in terms.prices)


def target(terms: PriceTerms, quantity: Decimal, rated: Decimal) -> Decimal:
    """Return the amount that `quantity` units cost under the model, of which `rated` was rated per unit."""
    if isinstance(terms.model, PerUnit):
        return per_unit(rated, quantity, terms.included)
    return amount(terms.model, billable(quantity, terms.included))


def _add_model(bill: RunningBill, usage: Sequence[UsageLine], terms: PriceTerms) -> None:
    if isinstance(terms.model, PerUnit) and not terms.included:
        return
    quantity, rated = ZERO, Money.zero(bill.currency)
    by_project: dict[Cell, tuple[Decimal, Money]] = {}
    for line in usage:
        if line.meter != terms.meter:
            raise ValueError(f"the price of {line.key} belongs to {line.meter}, its model to {terms.meter}")
        cell = line.cell
        used, billed = by_project.get(cell, (ZERO, Money.zero(bill.currency)))
        by_project[cell] = EXACT.add(used, line.quantity), billed + line.amount.rounded()
        quantity, rated = EXACT.add(quantity, line.quantity), rated + line.amount
    difference = Money(target(terms, quantity, rated.amount), bill.currency)
    for _, billed in by_project.values():
        difference -= billed
    takes_off = difference.amount < 0
    parts = [
        Part(cell, billed.minor if takes_off else used, used, billed) for cell, (used, billed) in by_project.items()
    ]
    if not any(part.weight for part in parts):
        parts = [Part((None, terms.meter), 1, quantity, Money.zero(bill.currency))]
    if difference:
        bill.attribute(Kind.MODEL, terms.key, difference, parts)
