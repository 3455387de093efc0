"""What differs between two bills of the same usage, such as under other terms. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from billing.money import Money
from billing.rating.billed.bills import Bill
from billing.rating.billed.lines import Line


@dataclass(frozen=True, slots=True)
class Change:
    """One line before and after, by its key; None where a bill does not have it. `change` is after minus before.

    `line` is the line itself, or the first of those that share the key.
    """

    key: str
    line: Line
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


def by_cell(line: Line) -> str:
    """Return the key under which lines of a project's meter and of one term are one, whatever prices they have."""
    return f"{line.kind}:{line.term or '-'}:{line.project_id or '-'}:{line.meter or '-'}:{line.origin or '-'}"


def difference(before: Bill, after: Bill, *, key_of: Callable[[Line], str] = lambda line: line.key) -> Difference:
    """Return what changes from one bill to the other; lines with the same key are summed.

    Raises CurrencyMismatch for bills in different currencies.
    """
    old, new = _sums(before, key_of), _sums(after, key_of)
    lines = {key_of(line): line for line in reversed((*after.lines, *before.lines))}
    zero = Money.zero(after.currency)
    changes = [
        Change(key, lines[key], old.get(key), new.get(key), new.get(key, zero) - old.get(key, zero))
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


def _sums(bill: Bill, key_of: Callable[[Line], str]) -> dict[str, Money]:
    sums: dict[str, Money] = {}
    for line in bill.lines:
        key = key_of(line)
        sums[key] = sums[key] + line.amount if key in sums else line.amount
    return sums
