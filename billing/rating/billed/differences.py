"""What differs between two bills of the same usage, such as under other terms. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from billing.money import Money
from billing.rating.billed.bills import Bill


@dataclass(frozen=True, slots=True)
class Change:
    """One line before and after, by its key; None where a bill does not have it. `change` is after minus before."""

    key: str
    before: Money | None
    after: Money | None
    change: Money


@dataclass(frozen=True, slots=True)
class Difference:
    """The lines that differ, in the order of the later bill, and by how much each sum grows."""

    lines: tuple[Change, ...]
    subtotal: Money
    tax: Money
    total: Money
    due: Money


def difference(before: Bill, after: Bill) -> Difference:
    """Return what changes from one bill to the other. Raises CurrencyMismatch for bills in different currencies."""
    old = {line.key: line.amount for line in before.lines}
    new = {line.key: line.amount for line in after.lines}
    zero = Money.zero(after.currency)
    changes = [
        Change(key, old.get(key), new.get(key), new.get(key, zero) - old.get(key, zero))
        for key in (*new, *(key for key in old if key not in new))
        if old.get(key) != new.get(key)
    ]
    return Difference(
        tuple(changes),
        after.subtotal - before.subtotal,
        after.tax - before.tax,
        after.total - before.total,
        after.due - before.due,
    )
