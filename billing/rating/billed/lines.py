"""Lines of a bill, and the bill while it is computed.

Rounding, for all lines: a line is rounded once, half-even, to the minor unit. What is computed afterwards starts from
rounded lines, as at Stripe and Lago, so that an invoice can be checked from what it shows: a flat price of 100.00 comes
to 100.00 whatever its usage lines were rounded to.

An adjustment of several projects is computed for the whole organisation and rounded once. Then its minor units are
allocated with the largest remainder method: the parts add up to the rounded whole, each differs from its exact share by
less than one minor unit, and the exact shares add up to the exact whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from billing.money import EXACT, Money, computed, minor_decimals
from billing.rating.billed.usage import Cell, Scope, UsageLine


class Kind(StrEnum):
    """What a line is, in the order in which a bill is computed. The last two are on invoices alone."""

    USAGE = "usage"
    CORRECTION = "correction"
    MODEL = "price_model"
    PLAN_FEE = "savings_plan"
    COVERED = "savings_plan_coverage"
    COMMITMENT = "commitment_shortfall"
    DISCOUNT = "discount"
    MINIMUM = "minimum_shortfall"
    CREDIT = "promotional_credit"
    CARRIED = "carried_over"
    TOP_UP = "top_up"


@dataclass(frozen=True, slots=True)
class Line:
    """One amount of a bill. It holds no text: pages and documents write it from the kind and these parameters.

    `key` is the same whenever the same usage meets the same terms. `term` is the key of the term or credit, `base` what
    a percentage or an adjustment starts from, `tax` the line's part of the tax of its rate, `tax_percent`.
    """

    kind: Kind
    key: str
    exact: Money
    amount: Money
    project_id: UUID | None = None
    meter: str | None = None
    term: str | None = None
    price_id: UUID | None = None
    quantity: Decimal | None = None
    unit_amount: Decimal | None = None
    base: Money | None = None
    percent: Decimal | None = None
    tax: Money | None = None
    tax_percent: Decimal | None = None
    origin: date | None = None
    outside: bool = False

    @property
    def cell(self) -> Cell:
        """Project and meter."""
        return self.project_id, self.meter

    @property
    def gross(self) -> Money:
        """The amount with its part of the tax."""
        return self.amount if self.tax is None else self.amount + self.tax


@dataclass(frozen=True, slots=True)
class Part:
    """A line's part of an adjustment: where it belongs, and the figures that explain it."""

    cell: Cell
    weight: int | Decimal
    quantity: Decimal | None = None
    base: Money | None = None


class RunningBill:
    """The lines so far, and what they net and refund by project and meter, in minor units."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.lines: list[Line] = []
        self.nets: dict[Cell, int] = {}
        self.refunds: dict[Cell, int] = {}

    def add(self, line: Line) -> None:
        """Append a line. Raises CurrencyMismatch for one in another currency."""
        for amount in (line.exact, line.amount):
            _ = amount + Money.zero(self.currency)
        self.lines.append(line)
        units = line.amount.minor
        self.nets[line.cell] = self.nets.get(line.cell, 0) + units
        if line.kind is Kind.CORRECTION and units < 0:
            self.refunds[line.cell] = self.refunds.get(line.cell, 0) + units

    def add_usage(self, usage: UsageLine) -> None:
        """Append usage as it was rated, rounded once."""
        self.add(
            Line(
                kind=Kind.CORRECTION if usage.origin else Kind.USAGE,
                key=f"usage:{usage.key}",
                exact=usage.amount,
                amount=usage.amount.rounded(),
                project_id=usage.project_id,
                meter=usage.meter,
                price_id=usage.price_id,
                quantity=usage.quantity,
                unit_amount=usage.unit_amount,
                origin=usage.origin,
                outside=usage.outside,
            )
        )

    def attribute(
        self, kind: Kind, term: str, exact: Money, parts: list[Part], *, percent: Decimal | None = None
    ) -> None:
        """Append an adjustment, rounded once and allocated to `parts` by weight; parts of nothing are left out.

        The weights are not negative and not all zero.
        """
        parts = sorted((part for part in parts if part.weight), key=lambda part: cell_order(part.cell))
        weights = [part.weight for part in parts]
        amounts, shares = exact.allocate(weights), exact_shares(exact, weights)
        for part, amount, share in zip(parts, amounts, shares, strict=True):
            if amount or share:
                self.add(
                    Line(
                        kind=kind,
                        key=line_key(kind, term, part.cell),
                        exact=share,
                        amount=amount,
                        project_id=part.cell[0],
                        meter=part.cell[1],
                        term=term,
                        quantity=part.quantity,
                        base=part.base,
                        percent=percent,
                    )
                )

    def in_scope(self, scope: Scope, *, usage_only: bool = False) -> dict[Cell, int]:
        """Return the net amounts in scope, in minor units; with `usage_only` without amounts that no meter caused."""
        return {
            cell: net for cell, net in self.nets.items() if scope.covers(cell) and not (usage_only and cell[1] is None)
        }

    def spent(self, scope: Scope) -> Money:
        """Return the net amount in scope without refunds of closed months, which no shortfall may take back."""
        refunded = sum(units for cell, units in self.refunds.items() if scope.covers(cell))
        return self.money(sum(self.in_scope(scope).values()) - refunded)

    def take_off(
        self, kind: Kind, term: str, exact: Money, cells: Mapping[Cell, int], *, percent: Decimal | None = None
    ) -> None:
        """Subtract an amount that is at most the sum of `cells` from those that are positive, by their net amounts.

        No part exceeds what its cell has, so that nothing falls below zero.
        """
        parts = [Part(cell, net, base=self.money(net)) for cell, net in cells.items() if net > 0]
        if exact.minor and parts:
            self.attribute(kind, term, -exact, parts, percent=percent)

    def money(self, units: int) -> Money:
        """Return an amount of whole minor units."""
        return money_of(units, self.currency)

    def total(self) -> Money:
        """Return the sum of the rounded lines."""
        return self.money(sum(self.nets.values()))


def line_key(kind: Kind, term: str, cell: Cell) -> str:
    """Return the identity of an adjustment line across bills."""
    project, meter = cell
    return f"{kind}:{term}:{project or '-'}:{meter or '-'}"


def money_of(units: int, currency: str) -> Money:
    """Return so many minor units as money."""
    return Money(Decimal(units).scaleb(-minor_decimals(currency), EXACT), currency)


def whole_units(amount: Money) -> int:
    """Return how many whole minor units a positive amount pays for; a remainder stays with its owner."""
    return int(amount.amount.scaleb(minor_decimals(amount.currency), EXACT))


def percent_of(amount: Money, percent: Decimal) -> Money:
    """Return a percentage of an amount, with twelve decimals."""
    return amount * percent.scaleb(-2, EXACT)


def exact_shares(amount: Money, weights: list[int | Decimal]) -> list[Money]:
    """Distribute an exact amount by weight, with twelve decimals; the largest weight takes what rounding leaves."""
    total = Decimal(0)
    for weight in weights:
        total = EXACT.add(total, Decimal(weight))
    parts = [
        Money(computed(EXACT.divide(EXACT.multiply(amount.amount, Decimal(weight)), total)), amount.currency)
        for weight in weights
    ]
    rest = amount
    for part in parts:
        rest -= part
    largest = max(range(len(weights)), key=lambda index: (weights[index], -index))
    parts[largest] += rest
    return parts


def cumulative_parts(total: int, weights: list[int]) -> list[int]:
    """Distribute whole units over weights of either sign: each part is the growth of the running, rounded share.

    The parts add up exactly. Weights that add up to zero leave everything to the last.
    """
    base, run, given, parts = sum(weights), 0, 0, []
    for weight in weights:
        run += weight
        reached = _nearest(total * run, base) if base else 0
        parts.append(reached - given)
        given = reached
    if parts and given != total:
        parts[-1] += total - given
    return parts


def cell_order(cell: Cell) -> tuple[str, str]:
    """Return the order of lines of one adjustment, and of equal remainders."""
    return str(cell[0] or ""), cell[1] or ""


def _nearest(numerator: int, denominator: int) -> int:
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    return (2 * numerator + denominator) // (2 * denominator)
