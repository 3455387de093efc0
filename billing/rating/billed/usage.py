"""What a bill is computed from: usage that was rated per unit when it was accepted, summed over the period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from billing.money import Money

Cell = tuple[UUID | None, str | None]
"""Project and meter that a line belongs to. (None, None) is the whole organisation's, such as a shortfall."""
WHOLE: Cell = (None, None)


@dataclass(frozen=True, slots=True)
class Scope:
    """The usage that a term applies to: of these meters and of these projects; an empty set leaves nothing out."""

    meters: frozenset[str] = frozenset()
    projects: frozenset[UUID] = frozenset()

    @property
    def everything(self) -> bool:
        """True if the term applies to all usage, and to amounts that belong to no project."""
        return not self.meters and not self.projects

    def covers(self, cell: Cell) -> bool:
        """Return whether an amount of this project and meter is in scope."""
        project, meter = cell
        return (not self.meters or meter in self.meters) and (not self.projects or project in self.projects)


ALL_USAGE = Scope()


@dataclass(frozen=True, slots=True)
class UsageLine:
    """One project's use of one meter at one price.

    `amount` is the exact contracted amount, `listed` the same usage at list price, both summed over segments. `origin`
    is the closed month that late usage was used in; only such a correction may be negative. `hours` holds the amount by
    UTC hour and adds up to `amount`; only hourly savings plans need it.
    """

    key: str
    project_id: UUID
    meter: str
    price_id: UUID | None
    quantity: Decimal
    unit_amount: Decimal
    amount: Money
    listed: Money
    dims: Mapping[str, str] = field(default_factory=dict)
    outside: bool = False
    origin: date | None = None
    hours: tuple[tuple[datetime, Decimal], ...] = ()

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("a usage line has a key")
        for value in (self.quantity, self.unit_amount):
            if not isinstance(value, Decimal) or not value.is_finite():
                raise ValueError("quantity and unit amount are finite Decimals")
        if self.origin is None and (self.quantity < 0 or self.amount.amount < 0 or self.listed.amount < 0):
            raise ValueError("only a correction of a closed month is negative")

    @property
    def cell(self) -> Cell:
        """Project and meter."""
        return self.project_id, self.meter


def in_order(usage: list[UsageLine]) -> list[UsageLine]:
    """Return the lines by key, so that their order at the call changes nothing. Raises ValueError if a key repeats."""
    ordered = sorted(usage, key=lambda line: line.key)
    if len({line.key for line in ordered}) < len(ordered):
        raise ValueError("the key of a usage line occurs once in a bill")
    return ordered
