"""Savings plans: an amount committed for each hour, or for the month, that pays for usage at a discount.

As AWS applies its savings plans: within each hour the commitment pays for matching usage at the plan's rate, the rest
of the usage stays at its contracted price, and what the hour leaves unused is lost. A monthly plan has one bucket, the
period. Plans apply in the order of the terms, each to what those before it left; usage of an hour is covered in
proportion. Neither corrections nor prices with a model are covered: their amounts are settled otherwise.

Lines: the fee, which belongs to no project, and for each project and meter what its usage no longer costs.
Rounding: covered amounts have twelve decimals; each line is rounded once. Coverage takes off the covered share of what
a usage line bills, so that fully covered usage comes to zero. Where several plans cover usage of one project and meter,
each line is the growth of their running, rounded sum, so that together they never take off more than is billed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from billing.money import EXACT, Money, computed
from billing.rating.billed.lines import Kind, Line, RunningBill, cell_order, line_key
from billing.rating.billed.model_lines import modelled
from billing.rating.billed.price_models import ZERO
from billing.rating.billed.terms import Per, SavingsPlan, Terms
from billing.rating.billed.usage import WHOLE, Cell, UsageLine

Bucket = datetime | None
Amounts = dict[str, dict[Bucket, Decimal]]
"""Contracted amounts that no plan has covered yet, by usage line and hour."""
ALL = Decimal(100)


@dataclass(frozen=True, slots=True)
class PlanFigures:
    """How well a savings plan fits: `used` of what was `committed`, and `covered` of the usage that was `eligible`."""

    key: str
    committed: Money
    used: Money
    covered: Money
    eligible: Money

    @property
    def utilisation(self) -> Decimal | None:
        """The used part of the commitment in percent; None if nothing was committed."""
        return _percent(self.used, self.committed)

    @property
    def coverage(self) -> Decimal | None:
        """The covered part of the eligible usage in percent, at contracted prices; None if there was none."""
        return _percent(self.covered, self.eligible)


@dataclass(slots=True)
class _Covered:
    """Sums of one plan over its hours."""

    by_line: dict[str, Decimal] = field(default_factory=dict)
    used: Decimal = ZERO
    covered: Decimal = ZERO
    eligible: Decimal = ZERO


def add_savings_plans(bill: RunningBill, usage: Sequence[UsageLine], terms: Terms) -> list[PlanFigures]:
    """Append fee and coverage of each plan; return their figures. Raises ValueError if hours are missing."""
    without = modelled(terms.models)
    eligible = [line for line in usage if line.origin is None and line.price_id not in without and line.amount]
    hourly: Amounts = {}
    if any(plan.per is Per.HOUR for plan in terms.savings_plans):
        if terms.hours is None:
            raise ValueError("an hourly savings plan needs the number of hours of the period")
        hourly = {line.key: _by_hour(line) for line in eligible}
        if len({hour for amounts in hourly.values() for hour in amounts}) > terms.hours:
            raise ValueError("the usage lies in more hours than the period has")
    left = hourly or {line.key: {None: line.amount.amount} for line in eligible}
    figures, taken_off = [], dict[Cell, Money]()
    for plan in terms.savings_plans:
        matching = [line for line in eligible if plan.scope.covers(line.cell)]
        found = _cover(plan, matching, left)
        fee = _add_fee(bill, plan, terms.hours or 0)
        _add_coverage(bill, plan, matching, found.by_line, taken_off)
        sums = (Money(value, bill.currency) for value in (found.used, found.covered, found.eligible))
        figures.append(PlanFigures(plan.key, fee, *sums))
    return figures


def _add_fee(bill: RunningBill, plan: SavingsPlan, hours: int) -> Money:
    count = hours if plan.per is Per.HOUR else 1
    fee = Money(plan.amount, bill.currency) * count
    key = line_key(Kind.PLAN_FEE, plan.key, WHOLE)
    bill.add(
        Line(Kind.PLAN_FEE, key, fee, fee.rounded(), term=plan.key, quantity=Decimal(count), unit_amount=plan.amount)
    )
    return fee


def _add_coverage(
    bill: RunningBill,
    plan: SavingsPlan,
    usage: Sequence[UsageLine],
    covered: Mapping[str, Decimal],
    taken_off: dict[Cell, Money],
) -> None:
    """Append what the plan takes off each project and meter, and add it to what plans have `taken_off` so far."""
    zero = Money.zero(bill.currency)
    cells: dict[Cell, tuple[Money, Money]] = {}
    for line in usage:
        part = covered.get(line.key, ZERO)
        if part:
            billed = line.amount.rounded().amount
            saved = computed(EXACT.divide(EXACT.multiply(billed, part), line.amount.amount))
            base, total = cells.get(line.cell, (zero, zero))
            cells[line.cell] = base + Money(part, bill.currency), total + Money(saved, bill.currency)
    for cell in sorted(cells, key=cell_order):
        base, exact = cells[cell]
        before = taken_off.get(cell, zero)
        taken_off[cell] = before + exact
        bill.add(
            Line(
                kind=Kind.COVERED,
                key=line_key(Kind.COVERED, plan.key, cell),
                exact=-exact,
                amount=before.rounded() - taken_off[cell].rounded(),
                project_id=cell[0],
                meter=cell[1],
                term=plan.key,
                base=base,
                percent=plan.percent,
            )
        )


def _cover(plan: SavingsPlan, usage: Sequence[UsageLine], left: Amounts) -> _Covered:
    """Cover what is left of the usage, bucket by bucket, and take it off `left`."""
    found = _Covered()
    rate = EXACT.divide(EXACT.subtract(ALL, plan.percent), ALL)
    for held in _buckets(plan, usage, left).values():
        total = _sum(amount for _, _, amount in held)
        capacity = computed(EXACT.divide(plan.amount, rate))
        covered = min(total, capacity)
        found.eligible = EXACT.add(found.eligible, total)
        if not covered:
            continue
        found.covered = EXACT.add(found.covered, covered)
        used = plan.amount if total >= capacity else min(computed(EXACT.multiply(covered, rate)), plan.amount)
        found.used = EXACT.add(found.used, used)
        for key, bucket, amount in held:
            part = min(computed(EXACT.divide(EXACT.multiply(amount, covered), total)), amount)
            left[key][bucket] = EXACT.subtract(amount, part)
            found.by_line[key] = EXACT.add(found.by_line.get(key, ZERO), part)
    return found


def _buckets(
    plan: SavingsPlan, usage: Sequence[UsageLine], left: Amounts
) -> Mapping[Bucket, list[tuple[str, Bucket, Decimal]]]:
    """Group the uncovered amounts by hour; all in one for a monthly plan."""
    buckets: dict[Bucket, list[tuple[str, Bucket, Decimal]]] = {}
    for line in usage:
        for hour, amount in left[line.key].items():
            buckets.setdefault(hour if plan.per is Per.HOUR else None, []).append((line.key, hour, amount))
    return buckets


def _by_hour(line: UsageLine) -> dict[Bucket, Decimal]:
    hours: dict[Bucket, Decimal] = dict(line.hours)
    if len(hours) < len(line.hours) or _sum(hours.values()) != line.amount.amount:
        raise ValueError("an hourly savings plan needs usage by hour that adds up to its amount")
    if any(amount < 0 for amount in hours.values()):
        raise ValueError("an hour's usage is not negative")
    return hours


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _percent(part: Money, whole: Money) -> Decimal | None:
    return computed(EXACT.divide(EXACT.multiply(part.amount, ALL), whole.amount)) if whole else None
