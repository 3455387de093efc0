"""Credits: which one pays for what, and what is left of it.

Order, as for Stripe's credit grants: lower priority number first, then the earliest expiry, then the older grant. A
credit with a scope pays only for amounts of its meters and projects; one without pays for everything, shortfalls too.

Promotional credits lower the price, so they are lines before tax and reduce the taxable amount, as Lago treats coupons.
Paid credits are money received in advance, so they pay what is due including tax, as Lago's prepaid credits do. Thus
promotional credits are used first. Where a contract says `paid_first`, paid credits are used first, and promotional
ones after them pay what is still due; then no credit reduces the taxable amount.

A promotional credit that ends within the month pays for the usage of its days alone, from the one on which it starts until
the day before it expires: that it has expired when the month is billed does not matter. Any other pays what is left of the
bill of a month if it can be used on its last day. No usage of a day is paid for twice.

Rounding: none. A credit gives whole minor units, at most what is due; a finer remainder stays in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
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
    """What is left of a credit. It can be used from `starts_on` until the day before `expires_on`; `title` is for people.

    `most`: it ends within the month that is billed, and pays no more of it; see `limited`.
    """

    key: str
    kind: CreditKind
    left: Money
    starts_on: date
    expires_on: date | None = None
    priority: int = 50
    scope: Scope = ALL_USAGE
    title: str = ""
    most: Money | None = None

    @property
    def units(self) -> int:
        """How many whole minor units it may pay."""
        return whole_units(self.left if self.most is None or self.left < self.most else self.most)


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
    found = [one for one in credits if one.starts_on <= at and (one.most is not None or _lasts(one, at))]
    return sorted(found, key=_order)


def ends_within(credit: Credit, first: date, last: date) -> bool:
    """Return whether a promotional credit can be used on days of a month, but not after its last."""
    promotional = credit.kind is CreditKind.PROMOTIONAL and bool(credit.left)
    return promotional and credit.starts_on <= last and _lasts(credit, first) and not _lasts(credit, last)


def limited(
    credits: Sequence[Credit], first: date, last: date, used: Callable[[], Mapping[tuple[Cell, date], Decimal]]
) -> list[Credit]:
    """Return the credits for the bill of a month: those that end within it pay at most for the usage of their days.

    `used` returns the month's usage by cell and local day; it is called only if a credit asks for it.
    """
    ending = sorted((one for one in credits if ends_within(one, first, last)), key=_order)
    if not ending:
        return list(credits)
    days, found = dict(used()), {one.key: one for one in credits}
    ordered = sorted(days, key=lambda one: (one[1], cell_order(one[0])))
    for credit in ending:
        most = Decimal(0)
        for cell, day in ordered:
            if credit.starts_on <= day and _lasts(credit, day) and credit.scope.covers(cell):
                part = max(min(days[cell, day], credit.left.amount - most), Decimal(0))
                days[cell, day] -= part
                most += part
        found[credit.key] = replace(credit, most=Money(most, credit.left.currency).rounded())
    return list(found.values())


def _lasts(credit: Credit, day: date) -> bool:
    return credit.expires_on is None or day < credit.expires_on


def _order(credit: Credit) -> tuple[int, date, date, str]:
    return credit.priority, credit.expires_on or date.max, credit.starts_on, credit.key


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
        units = min(credit.units, sum(cells.values()), bill.total().minor)
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
        units = min(credit.units, in_scope, due)
        if units > 0:
            ordered = sorted(cells, key=cell_order)
            taken = money_of(units, total.currency)
            for cell, part in zip(ordered, taken.allocate([cells[one] for one in ordered]), strict=True):
                gross[cell] -= part.minor
            due -= units
            uses.append(CreditUse(credit.key, credit.kind, taken, credit.left - taken, before_tax=False))
    return uses
