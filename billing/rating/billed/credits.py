"""Credits: which one pays for what, and what is left of it.

Order, as for Stripe's credit grants: lower priority number first, then the earliest expiry, then the older grant. A
credit with a scope pays only for amounts of its meters and projects; one without pays for everything, shortfalls too.

Promotional credits lower the price, so they are lines before tax and reduce the taxable amount, as Lago treats coupons.
Paid credits are money received in advance, so they pay what is due including tax, as Lago's prepaid credits do. Thus
promotional credits are used first. Where a contract says `paid_first`, paid credits are used first, and promotional
ones after them pay what is still due; then no credit reduces the taxable amount.

Rounding: none. A credit gives whole minor units, at most what is due; a finer remainder stays in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from billing.money import Money
from billing.rating.billed.faults import Fault, number_faults
from billing.rating.billed.lines import Kind, Line, RunningBill, cell_order, money_of, whole_units
from billing.rating.billed.usage import ALL_USAGE, Cell, Scope

LAST_PRIORITY = 100


class CreditKind(StrEnum):
    """Whether a credit was given or bought."""

    PROMOTIONAL = "promotional"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class Credit:
    """What is left of a credit. It can be used from `starts_on` until the day before `expires_on`; `title` is for people."""

    key: str
    kind: CreditKind
    left: Money
    starts_on: date
    expires_on: date | None = None
    priority: int = 50
    scope: Scope = ALL_USAGE
    title: str = ""


@dataclass(frozen=True, slots=True)
class CreditUse:
    """How much of a credit a bill uses, and what is left of it. `before_tax`: as lines; else as payment."""

    key: str
    kind: CreditKind
    amount: Money
    left: Money
    before_tax: bool


def usable(credits: Sequence[Credit], at: date) -> list[Credit]:
    """Return the credits that can be used on a day, in the order of their use.

    Raises ValueError if a key repeats or a credit is negative.
    """
    if len({credit.key for credit in credits}) < len(credits):
        raise ValueError("the key of a credit occurs once in a bill")
    if any(credit.left.amount < 0 for credit in credits):
        raise ValueError("a credit is not negative")
    found = [one for one in credits if one.starts_on <= at and (one.expires_on is None or at < one.expires_on)]
    return sorted(found, key=lambda one: (one.priority, one.expires_on or date.max, one.starts_on, one.key))


def credit_faults(credit: Credit) -> Iterator[Fault]:
    """Yield the faults of a credit: its amount, priority and dates."""
    yield from number_faults("left", credit.left.amount)
    if not 0 <= credit.priority <= LAST_PRIORITY:
        yield Fault("priority", f"Choose a priority from 0, which is used first, to {LAST_PRIORITY}.")
    if credit.expires_on is not None and credit.expires_on <= credit.starts_on:
        yield Fault("expires_on", f"Choose an expiry after {credit.starts_on}, when the credit begins.")


def use_before_tax(bill: RunningBill, credits: Sequence[Credit]) -> list[CreditUse]:
    """Append the lines of promotional credits, in order; return what each gave."""
    uses = []
    for credit in credits:
        _ = credit.left + Money.zero(bill.currency)
        cells = bill.in_scope(credit.scope)
        units = min(whole_units(credit.left), sum(cells.values()), bill.total().minor)
        if units > 0:
            taken = bill.money(units)
            bill.take_off(Kind.CREDIT, credit.key, taken, cells)
            uses.append(CreditUse(credit.key, credit.kind, taken, credit.left - taken, before_tax=True))
    return uses


def use_after_tax(lines: Sequence[Line], total: Money, credits: Sequence[Credit]) -> list[CreditUse]:
    """Return how much of each credit, in order, pays the total of lines and their tax."""
    gross: dict[Cell, int] = {}
    for line in lines:
        gross[line.cell] = gross.get(line.cell, 0) + line.gross.minor
    due, uses = total.minor, []
    for credit in credits:
        _ = credit.left + Money.zero(total.currency)
        cells = {cell: units for cell, units in gross.items() if credit.scope.covers(cell) and units > 0}
        in_scope = sum(units for cell, units in gross.items() if credit.scope.covers(cell))
        units = min(whole_units(credit.left), in_scope, due)
        if units > 0:
            ordered = sorted(cells, key=cell_order)
            taken = money_of(units, total.currency)
            for cell, part in zip(ordered, taken.allocate([cells[one] for one in ordered]), strict=True):
                gross[cell] -= part.minor
            due -= units
            uses.append(CreditUse(credit.key, credit.kind, taken, credit.left - taken, before_tax=False))
    return uses
