"""The terms of a contract that change a bill after usage was rated. Amounts are in the contract's currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from billing.rating.billed.price_models import ZERO, Model
from billing.rating.billed.usage import ALL_USAGE, Scope, UsageLine


class Per(StrEnum):
    """How often a savings plan commits its amount."""

    HOUR = "hour"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """How prices of one meter are billed over the period, all their usage together.

    Usually one price; several if its unit amount changed within the period. `included` units are free. With `dims` it
    covers the prices of the meter that name all of them, whichever version of the book they come from: see `resolved`.
    """

    key: str
    meter: str
    prices: frozenset[UUID]
    model: Model
    included: Decimal = ZERO
    dims: tuple[tuple[str, str], ...] | None = None


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
    used before promotional ones, and then all credits after tax. `prepaid`: work is held from the wallet's credit.
    """

    currency: str
    models: tuple[PriceTerms, ...] = ()
    savings_plans: tuple[SavingsPlan, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    discounts: tuple[Discount, ...] = ()
    minimums: tuple[Minimum, ...] = ()
    hours: int | None = None
    paid_first: bool = False
    prepaid: bool = False


def resolved(terms: Terms, usage: Sequence[UsageLine]) -> Terms:
    """Return the terms with the prices that a model covers by dimensions named from the usage at hand.

    A price that several models cover belongs to the one with the most dimensions, then to the first.
    """
    if not terms.models:
        return terms
    taken: dict[UUID, PriceTerms] = {}
    ranked = sorted((one for one in terms.models if one.dims is not None), key=lambda one: -len(one.dims or ()))
    named = frozenset[UUID]().union(*(one.prices for one in terms.models))
    for model in ranked:
        for line in usage:
            fits = line.meter == model.meter and set(model.dims or ()) <= set(line.dims.items())
            if fits and line.origin is None and line.price_id is not None and line.price_id not in named:
                taken.setdefault(line.price_id, model)
    models = [
        model
        if model.dims is None
        else replace(model, prices=model.prices | {price for price, owner in taken.items() if owner is model})
        for model in terms.models
    ]
    return replace(terms, models=tuple(models))
