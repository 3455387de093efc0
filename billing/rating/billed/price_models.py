"""Price models: the amount for a period's quantity, in steps that explain it.

The models and their names are those of Stripe's prices and OpenMeter's rate cards: per unit, flat, graduated, volume,
package, each with units included. A tier's `up_to` belongs to the tier, as at Stripe. A tier that no unit reaches costs
nothing, not even its flat amount, so that usage of zero changes no bill; a fee that is due without usage is `Flat`.

Rounding: each step is a product with twelve decimals. The line that follows from it is rounded once, elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from billing.money import EXACT, computed
from billing.rating.flat import charge

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tier:
    """A part of the quantity, up to and including `up_to` units; None: without end."""

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class PerUnit:
    """What usage was rated at when accepted. Only included units change its amount."""


@dataclass(frozen=True, slots=True)
class Flat:
    """A fixed amount for the period, with or without usage."""

    amount: Decimal


@dataclass(frozen=True, slots=True)
class Graduated:
    """Each tier prices the units that lie in it."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """The tier that the whole quantity reaches prices all units."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """An amount for every started package of `size` units."""

    size: Decimal
    amount: Decimal


Model = PerUnit | Flat | Graduated | Volume | Package


@dataclass(frozen=True, slots=True)
class Step:
    """One product of a computation: `quantity` (units, or packages) at `unit_amount`, plus `flat_amount`."""

    quantity: Decimal
    unit_amount: Decimal
    flat_amount: Decimal
    amount: Decimal
    up_to: Decimal | None = None


def billable(quantity: Decimal, included: Decimal) -> Decimal:
    """Return the units that are left to pay once the included ones are taken off, never below zero."""
    return max(EXACT.subtract(quantity, included), ZERO)


def per_unit(rated: Decimal, quantity: Decimal, included: Decimal) -> Decimal:
    """Return the part of what usage was rated at that the included units leave, with twelve decimals.

    It is proportional, so that prices that changed within the period are each included by their share.
    """
    left = billable(quantity, included)
    return computed(EXACT.divide(EXACT.multiply(rated, left), quantity)) if left else ZERO


def steps(model: Flat | Graduated | Volume | Package, quantity: Decimal) -> list[Step]:
    """Return the steps by which `quantity` units are priced. Their amounts add up to the amount of the model."""
    match model:
        case Flat():
            return [Step(Decimal(1), model.amount, ZERO, model.amount)]
        case Package():
            packages = EXACT.divide(quantity, model.size).to_integral_value(ROUND_CEILING, EXACT)
            return [_step(packages, model.amount)] if packages else []
        case Volume():
            return [_step(quantity, tier.unit_amount, tier) for tier in _reached(model.tiers, quantity)[-1:]]
        case Graduated():
            found, start = [], ZERO
            for tier in _reached(model.tiers, quantity):
                end = quantity if tier.up_to is None else min(quantity, tier.up_to)
                found.append(_step(EXACT.subtract(end, start), tier.unit_amount, tier))
                start = end
            return found


def amount(model: Flat | Graduated | Volume | Package, quantity: Decimal) -> Decimal:
    """Return the amount of the model for `quantity` units, with twelve decimals."""
    total = ZERO
    for step in steps(model, quantity):
        total = EXACT.add(total, step.amount)
    return total


def _reached(tiers: Sequence[Tier], quantity: Decimal) -> list[Tier]:
    """Return the tiers that hold at least a part of a unit."""
    starts = [ZERO, *(tier.up_to for tier in tiers if tier.up_to is not None)]
    return [tier for tier, start in zip(tiers, starts, strict=False) if quantity > start]


def _step(quantity: Decimal, unit_amount: Decimal, tier: Tier | None = None) -> Step:
    flat = tier.flat_amount if tier else ZERO
    total = EXACT.add(charge(quantity, unit_amount), flat)
    return Step(quantity, unit_amount, flat, total, tier.up_to if tier else None)
