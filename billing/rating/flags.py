"""What a person should look at before an invoice is finalised: its lines beside those of the month before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

NOTHING, UNTAXED, UNPRICED, NEGATIVE, GONE, LATE, CHANGED, NEW = (
    "nothing_billed", "tax_unknown", "unpriced_usage", "negative_line", "meter_gone", "late_usage", "changed", "new_meter",
)  # fmt: skip
#: How bad each is; the greatest is the worst.
SEVERITY = {NOTHING: 6, UNTAXED: 5, UNPRICED: 5, NEGATIVE: 4, GONE: 3, LATE: 2, CHANGED: 2, NEW: 1}
#: A change of more than this part of the month before is flagged.
NOTABLE = Decimal("0.3")
MOST_FLAGS = 20
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Item:
    """A line as it is compared: `late` for one that corrects an earlier month, `unpriced` if no price was in force.

    `agreed`: a term of the contract makes it, such as a discount, which is below zero as agreed.
    """

    project: UUID | None
    meter: str
    amount: Decimal
    measured: Decimal = ZERO
    late: bool = False
    unpriced: bool = False
    agreed: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """One finding: of the invoice, a meter, or a project's use of a meter; with the amounts of both months."""

    flag: str
    meter: str = ""
    project: UUID | None = None
    before: Decimal = ZERO
    now: Decimal = ZERO

    def stored(self) -> dict[str, str | None]:
        """Return the flag as it is kept."""
        return {
            "flag": self.flag,
            "meter": self.meter,
            "project": str(self.project) if self.project else None,
            "before": format(self.before.normalize(), "f"),
            "now": format(self.now.normalize(), "f"),
        }


def flags(
    now: Sequence[Item],
    before: Sequence[Item],
    total: Decimal,
    last_total: Decimal | None,
    *,
    untaxed: bool = False,
) -> list[Flag]:
    """Return what stands out, the worst first and then the greatest difference, at most MOST_FLAGS.

    `before` are the lines of the last month, `last_total` its total or None if it was not billed. `untaxed`: no rate of tax
    is in force for the customer.
    """
    found = [
        *([Flag(UNTAXED)] if untaxed else []),
        *_of_total(total, last_total),
        *_of_lines(now),
        *_of_meters(now, before),
        *_changed(now, before),
    ]
    found.sort(key=lambda one: (-SEVERITY[one.flag], -abs(one.now - one.before), one.meter, str(one.project)))
    return found[:MOST_FLAGS]


def severity(found: Sequence[Flag]) -> int:
    """Return a number by which the invoices with the worst flags, and then with more of them, sort first."""
    return max((SEVERITY[one.flag] for one in found), default=0) * 100 + len(found)


def per_cent(now: Decimal, before: Decimal | None) -> Decimal | None:
    """Return the change in per cent, not rounded; None if nothing was there before."""
    return None if not before else (now - before) * 100 / abs(before)


def _of_total(total: Decimal, last_total: Decimal | None) -> Iterator[Flag]:
    if not total and last_total:
        yield Flag(NOTHING, before=last_total)


def _of_lines(now: Sequence[Item]) -> Iterator[Flag]:
    for item in now:
        if item.amount < 0 and not item.agreed:
            yield Flag(NEGATIVE, item.meter, item.project, now=item.amount)
        if item.unpriced and item.measured > 0:
            yield Flag(UNPRICED, item.meter, item.project)
        if item.late:
            yield Flag(LATE, item.meter, item.project, now=item.amount)


def _of_meters(now: Sequence[Item], before: Sequence[Item]) -> Iterator[Flag]:
    is_, was = _sums(now, _meter), _sums(before, _meter)
    for meter, _ in was.keys() - is_.keys():
        yield Flag(GONE, meter, before=was[meter, None])
    if was:  # in a first month everything is new
        for meter, _ in is_.keys() - was.keys():
            yield Flag(NEW, meter, now=is_[meter, None])


def _changed(now: Sequence[Item], before: Sequence[Item]) -> Iterator[Flag]:
    """Compare sums by meter; of a meter that several projects use, by project too."""
    several: dict[str, set[UUID | None]] = {}
    for item in (*now, *before):
        several.setdefault(item.meter, set()).add(item.project)
    shared = {meter for meter, projects in several.items() if len(projects) > 1}
    for key_of in (_meter, _line):
        is_, was = _sums(now, key_of), _sums(before, key_of)
        for key in is_.keys() & was.keys():
            meter, project = key
            if (key_of is _meter or meter in shared) and abs(is_[key] - was[key]) > NOTABLE * abs(was[key]):
                yield Flag(CHANGED, meter, project, before=was[key], now=is_[key])


def _meter(item: Item) -> tuple[str, UUID | None]:
    return item.meter, None


def _line(item: Item) -> tuple[str, UUID | None]:
    return item.meter, item.project


def _sums(
    items: Iterable[Item], key_of: Callable[[Item], tuple[str, UUID | None]]
) -> dict[tuple[str, UUID | None], Decimal]:
    """Return the sums of the month's own lines."""
    sums: dict[tuple[str, UUID | None], Decimal] = {}
    for item in items:
        if not item.late:
            sums[key_of(item)] = sums.get(key_of(item), ZERO) + item.amount
    return sums
