"""The bill of a period: one entry point over all adjustments, in this order.

1. Usage, as it was rated when accepted.
2. Price models, which replace what usage was rated at.
3. Savings plans: a price as well, for usage that no model prices.
4. Commitments: they compare spend at agreed prices, before discounts (`commitments`).
5. Percentage discounts, then 6. amount discounts (`discounts`).
7. Minimums: the least that the bill comes to, so they follow discounts.
8. Promotional credits: they lower the taxable amount (`credits`).
9. Tax, on what is left of each rate's lines (`tax`).
10. Paid credits: they pay what is due including tax.

Prices before discounts, discounts before tax and advance payments after tax is the order that Lago and Flexprice
document for their invoices. Stripe does the same with coupons, tax and the customer's balance.

The same call answers what a bill would be under other terms; `differences` compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from billing.money import Money
from billing.rating.billed.commitments import add_commitments, add_minimums
from billing.rating.billed.credits import Credit, CreditKind, CreditUse, usable, use_after_tax, use_before_tax
from billing.rating.billed.discounts import add_discounts
from billing.rating.billed.faults import terms_fault
from billing.rating.billed.lines import Line, RunningBill
from billing.rating.billed.model_lines import add_models
from billing.rating.billed.savings import PlanFigures, add_savings_plans
from billing.rating.billed.tax import TaxRow, TaxTerms, taxed
from billing.rating.billed.terms import Terms
from billing.rating.billed.usage import UsageLine, in_order


@dataclass(frozen=True, slots=True)
class Saving:
    """How far usage was rated below its list price. It explains a line and is no amount of the bill.

    `spot`: the usage ran on the spot tier; else the contract's price is lower.
    """

    key: str
    usage_key: str
    spot: bool
    listed: Money
    rated: Money
    saved: Money


@dataclass(frozen=True, slots=True)
class Bill:
    """A period's bill. Sums are of rounded lines: `subtotal` before tax, `total` with tax, `due` after all credits.

    `due` is never negative. A total below zero, which only corrections cause, is `carried` to the customer instead.
    """

    currency: str
    lines: tuple[Line, ...]
    savings: tuple[Saving, ...]
    plans: tuple[PlanFigures, ...]
    taxes: tuple[TaxRow, ...]
    credits: tuple[CreditUse, ...]
    subtotal: Money
    tax: Money
    total: Money
    due: Money
    carried: Money


def bill(
    usage: Sequence[UsageLine],
    terms: Terms,
    *,
    credits: Sequence[Credit] = (),
    tax: TaxTerms | None = None,
    at: date,
) -> Bill:
    """Return the bill for a period's usage on the tax day `at`, which is also the day on which credits are used.

    Raises ValueError for terms with a fault or repeated keys, CurrencyMismatch, MissingRate, StaleTax.
    """
    fault = terms_fault(terms)
    if fault:
        raise ValueError(fault)
    running, ordered = RunningBill(terms.currency), in_order(list(usage))
    for line in ordered:
        running.add_usage(line)
    add_models(running, ordered, terms.models)
    plans = add_savings_plans(running, ordered, terms)
    add_commitments(running, terms.commitments)
    add_discounts(running, terms.discounts)
    add_minimums(running, terms.minimums)
    before_tax, after_tax = _by_rule(usable(credits, at), terms)
    uses = use_before_tax(running, before_tax)
    lines, taxes = taxed(running.lines, tax, terms.currency, at) if tax else (running.lines, [])
    subtotal = running.total()
    total = subtotal
    for row in taxes:
        total += row.tax
    uses += use_after_tax(lines, total, after_tax)
    zero = Money.zero(terms.currency)
    due = max(total, zero)
    for use in uses:
        if not use.before_tax:
            due -= use.amount
    return Bill(
        currency=terms.currency,
        lines=tuple(lines),
        savings=tuple(_savings(ordered)),
        plans=tuple(plans),
        taxes=tuple(taxes),
        credits=tuple(uses),
        subtotal=subtotal,
        tax=total - subtotal,
        total=total,
        due=due,
        carried=max(-total, zero),
    )


def _by_rule(credits: list[Credit], terms: Terms) -> tuple[list[Credit], list[Credit]]:
    """Return the credits to use before and after tax."""
    given = [credit for credit in credits if credit.kind is CreditKind.PROMOTIONAL]
    paid = [credit for credit in credits if credit.kind is CreditKind.PAID]
    return ([], paid + given) if terms.paid_first else (given, paid)


def _savings(usage: Sequence[UsageLine]) -> list[Saving]:
    return [
        Saving(
            f"saving:{line.key}",
            line.key,
            line.dims.get("tier") == "spot",
            line.listed,
            line.amount,
            line.listed - line.amount,
        )
        for line in usage
        if line.listed > line.amount
    ]
