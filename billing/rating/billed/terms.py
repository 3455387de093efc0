"""The terms of a contract that change a bill after usage was rated. Amounts are in the contract's currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from billing.rating.billed.price_models import ZERO, Model
from billing.rating.billed.usage import ALL_USAGE, Scope


class Per(StrEnum):
    """How often a savings plan commits its amount."""

    HOUR = "hour"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """How prices of one meter are billed over the period, all their usage together.

    Usually one price; several if its unit amount changed within the period. `included` units are free.
    """

    key: str
    meter: str
    prices: frozenset[UUID]
    model: Model
    included: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class SavingsPlan:
    """An amount that is due each hour, or once a month, and pays for matching usage at `percent` off."""

    key: str
    per: Per
    amount: Decimal
    percent: Decimal
    scope: Scope = ALL_USAGE


@dataclass(frozen=True, slots=True)
class Commitment:
    """Spend that the customer committed to, by default within the period.

    A commitment over several periods gives what `earlier` ones spent, and `closes` in its last one only.
    """

    key: str
    amount: Decimal
    scope: Scope = ALL_USAGE
    earlier: Decimal = ZERO
    closes: bool = True


@dataclass(frozen=True, slots=True)
class Discount:
    """What is taken off usage: a `percent`, or an `amount` once a period; exactly one of them."""

    key: str
    percent: Decimal | None = None
    amount: Decimal | None = None
    scope: Scope = ALL_USAGE


@dataclass(frozen=True, slots=True)
class Minimum:
    """The least that the period costs after discounts and before tax."""

    key: str
    amount: Decimal
    scope: Scope = ALL_USAGE


@dataclass(frozen=True, slots=True)
class Terms:
    """All that adjusts a period's bill. Keys are unique within each list; lists apply in their order.

    `hours` is the number of hours of the billed period, which hourly savings plans need. `paid_first`: paid credits are
    used before promotional ones, and then all credits after tax.
    """

    currency: str
    models: tuple[PriceTerms, ...] = ()
    savings_plans: tuple[SavingsPlan, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    discounts: tuple[Discount, ...] = ()
    minimums: tuple[Minimum, ...] = ()
    hours: int | None = None
    paid_first: bool = False
