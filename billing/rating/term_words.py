"""The terms of a contract as people read them: a title and a sentence for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from billing.money import Money
from billing.rating.billed.price_models import Flat, Graduated, Model, Package, Tier, Volume
from billing.rating.billed.reading import NAMES, read_terms
from billing.rating.billed.terms import PriceTerms
from billing.rating.billed.usage import Scope


def term_words(terms: Mapping[str, Any], currency: str) -> Sequence[tuple[str, str]]:
    """Return what stored terms agree, in their order; nothing for none."""
    read = read_terms({"currency": currency, **terms})

    def money(amount: Decimal) -> str:
        return Money(amount, currency).plain()

    found = [("Savings plan", f"{money(one.amount)} {_per(one.per)} pay for usage at {_percent(one.percent)} off{_of(one.scope)}")
             for one in read.savings_plans]  # fmt: skip
    found += [
        ("Commitment", f"{money(one.amount)} a month{_of(one.scope)}; what is missing is billed")
        for one in read.commitments
    ]
    for one in read.discounts:
        off = _percent(one.percent) if one.percent is not None else f"{money(one.amount or Decimal(0))} a month"
        found.append(("Discount", f"{off} off {_usage(one.scope)}"))
    found += [
        ("Minimum", f"{money(one.amount)} a month{_of(one.scope)}, after discounts and before tax")
        for one in read.minimums
    ]
    found += [("Price model", _model(one, money)) for one in read.models]
    if read.paid_first:
        found.append(("Credits", "paid ones first, then promotional ones, all after tax"))
    if read.prepaid:
        found.append(("Prepaid", "work is held from the wallet’s credit, and does not start without it"))
    return found


def _per(per: str) -> str:
    return "an hour" if per == "hour" else "a month"


def _percent(value: Decimal) -> str:
    return f"{value.normalize():f} %"


def _usage(scope: Scope) -> str:
    return _of(scope).removeprefix(" of ") or "all usage"


def _of(scope: Scope) -> str:
    parts = [", ".join(sorted(scope.meters))] if scope.meters else []
    if scope.projects:
        parts.append(f"{len(scope.projects)} project{'s' if len(scope.projects) > 1 else ''}")
    return f" of {' in '.join(parts)}" if parts else ""


def _model(one: PriceTerms, money: Callable[[Decimal], str]) -> str:
    dims = "".join(f", {name} {value}" for name, value in one.dims or ())
    free = f", {one.included.normalize():f} units free" if one.included else ""
    costs = _costs(one.model, money)
    name = NAMES[type(one.model)].replace("_", " ")
    return f"{name} for {one.meter}{dims}{free}{f': {costs}' if costs else ''}"


def _costs(model: Model, money: Callable[[Decimal], str]) -> str:
    match model:
        case Flat(amount):
            return f"{money(amount)} a month"
        case Package(size, amount):
            return f"{money(amount)} for each started {size.normalize():f} units"
        case Graduated(tiers) | Volume(tiers):
            return ", ".join(_tier(tier, money) for tier in tiers)
        case _:
            return ""


def _tier(tier: Tier, money: Callable[[Decimal], str]) -> str:
    besides = f" and {money(tier.flat_amount)}" if tier.flat_amount else ""
    end = "above" if tier.up_to is None else f"up to {tier.up_to.normalize():f}"
    return f"{money(tier.unit_amount)} a unit{besides} {end}"
