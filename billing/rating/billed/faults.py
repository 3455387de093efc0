"""What is wrong with terms, in messages that say what to do. Each fault names the place it belongs to, for forms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from billing.money import EXACT, fineness_fault
from billing.rating.billed.price_models import Flat, Graduated, Package, PerUnit, Tier, Volume
from billing.rating.billed.terms import Commitment, Discount, Minimum, Per, PriceTerms, SavingsPlan, Terms
from billing.rating.billed.usage import Scope
from tenants.currencies import currency_fault

KEY = re.compile(r"[A-Za-z0-9_.-]{1,60}")
LARGEST = Decimal(10) ** 12
MOST_TERMS = 50
MOST_TIERS = 20
MOST_PRICES = 500
MOST_IN_SCOPE = 200
AMOUNT_DECIMALS = 12
UNIT_DECIMALS = 6
ALL = Decimal(100)


class Fault(NamedTuple):
    """A message, and the field that it is about, as `models.0.tiers.1.up_to`."""

    where: str
    message: str


def terms_fault(terms: Terms) -> str | None:
    """Return the first message about the terms; None if they can be billed."""
    return next((fault.message for fault in terms_faults(terms)), None)


def terms_faults(terms: Terms) -> list[Fault]:
    """Return all faults of the terms, in order."""
    found = currency_fault(terms.currency)
    if found:
        return [Fault("currency", found)]
    if terms.hours is not None and terms.hours < 1:
        return [Fault("hours", "Give the number of hours of the period, at least 1.")]
    faults = [*_list_faults("models", terms.models), *_prices_faults(terms.models)]
    for index, model in enumerate(terms.models):
        faults += _model_faults(f"models.{index}", model)
    faults += _list_faults("savings_plans", terms.savings_plans)
    for index, plan in enumerate(terms.savings_plans):
        faults += _plan_faults(f"savings_plans.{index}", plan, terms.currency)
    promises: dict[str, Sequence[Commitment | Minimum]] = {"commitments": terms.commitments, "minimums": terms.minimums}
    for name, promised in promises.items():
        faults += _list_faults(name, promised)
        for index, one in enumerate(promised):
            faults += _promise_faults(f"{name}.{index}", one, terms.currency)
    faults += _list_faults("discounts", terms.discounts)
    for index, discount in enumerate(terms.discounts):
        faults += _discount_faults(f"discounts.{index}", discount, terms.currency)
    return faults


def tier_faults(where: str, tiers: Sequence[Tier]) -> Iterator[Fault]:
    """Yield the faults of tiers: they end one above the other, and the last one has no end."""
    if not 1 <= len(tiers) <= MOST_TIERS:
        yield Fault(where, f"Give 1 to {MOST_TIERS} tiers.")
        return
    below = Decimal(0)
    for index, tier in enumerate(tiers):
        here = f"{where}.{index}"
        last = index == len(tiers) - 1
        if last and tier.up_to is not None:
            yield Fault(f"{here}.up_to", f"Leave the end of tier {index + 1} empty: the last tier has no end.")
        elif not last and tier.up_to is None:
            yield Fault(f"{here}.up_to", f"Give the end of tier {index + 1}: only the last tier has none.")
        elif tier.up_to is not None:
            yield from number_faults(f"{here}.up_to", tier.up_to, decimals=UNIT_DECIMALS)
            if tier.up_to.is_finite() and tier.up_to <= below:
                yield Fault(f"{here}.up_to", f"End tier {index + 1} above {below:f}, where it begins.")
            below = tier.up_to if tier.up_to.is_finite() else below
        yield from number_faults(f"{here}.unit_amount", tier.unit_amount)
        yield from number_faults(f"{here}.flat_amount", tier.flat_amount)


def number_faults(
    where: str, value: Decimal, *, decimals: int = AMOUNT_DECIMALS, positive: bool = False, signed: bool = False
) -> Iterator[Fault]:
    """Yield the fault of a number: it is finite, of at most 10^12, not too fine, and not negative unless `signed`."""
    if not value.is_finite() or abs(value) > LARGEST:
        yield Fault(where, "Give a number of at most 10^12.")
    elif value < 0 and not signed:
        yield Fault(where, "Give a number that is not negative.")
    elif positive and not value:
        yield Fault(where, "Give a number above zero.")
    elif isinstance(exponent := value.normalize(EXACT).as_tuple().exponent, int) and -exponent > decimals:
        yield Fault(where, f"Give at most {decimals} decimals.")


def percent_faults(where: str, value: Decimal, *, below_all: bool = False, zero: bool = False) -> Iterator[Fault]:
    """Yield the fault of a percentage: from 0 to 100, without zero unless `zero`, without 100 if `below_all`."""
    if not value.is_finite() or not 0 <= value <= ALL or (below_all and value == ALL) or not (value or zero):
        lower, upper = ("from 0" if zero else "above 0"), ("below 100" if below_all else "at most 100")
        yield Fault(where, f"Give a percentage {lower}, {upper}.")
    else:
        yield from number_faults(where, value, decimals=UNIT_DECIMALS)


def _list_faults(
    where: str, terms: Sequence[PriceTerms | SavingsPlan | Commitment | Discount | Minimum]
) -> list[Fault]:
    if len(terms) > MOST_TERMS:
        return [Fault(where, f"Give at most {MOST_TERMS} entries.")]
    faults, seen = [], set()
    for index, one in enumerate(terms):
        if not KEY.fullmatch(one.key):
            faults.append(Fault(f"{where}.{index}.key", "Use 1 to 60 letters, digits, _ . and - for the key."))
        if one.key in seen:
            faults.append(Fault(f"{where}.{index}.key", f"Use another key: {one.key[:60]} appears twice."))
        seen.add(one.key)
        if not isinstance(one, PriceTerms):
            faults += _scope_faults(f"{where}.{index}", one.scope)
    return faults


def _scope_faults(where: str, scope: Scope) -> Iterator[Fault]:
    for name, chosen in (("meters", scope.meters), ("projects", scope.projects)):
        if len(chosen) > MOST_IN_SCOPE:
            yield Fault(f"{where}.{name}", f"Choose at most {MOST_IN_SCOPE}, or leave it empty for all.")


def _prices_faults(models: Iterable[PriceTerms]) -> Iterator[Fault]:
    seen: set[object] = set()
    for index, one in enumerate(models):
        if not one.meter:
            yield Fault(f"models.{index}.meter", "Choose the meter that the prices belong to.")
        if not one.prices and one.dims is None and not isinstance(one.model, Flat):
            yield Fault(f"models.{index}.prices", "Choose at least one price, or say by dimensions which it covers.")
        if len(one.prices) > MOST_PRICES:
            yield Fault(f"models.{index}.prices", f"Choose at most {MOST_PRICES} prices.")
        if seen & one.prices:
            yield Fault(f"models.{index}.prices", "Take the price out of one of the two models that name it.")
        seen |= one.prices


def _model_faults(where: str, terms: PriceTerms) -> Iterator[Fault]:
    yield from number_faults(f"{where}.included", terms.included, decimals=UNIT_DECIMALS)
    match terms.model:
        case PerUnit():
            return
        case Flat(amount):
            yield from number_faults(f"{where}.amount", amount)
            if terms.included:
                yield Fault(f"{where}.included", "Leave the included units out: a flat price has no units.")
        case Package(size, amount):
            yield from number_faults(f"{where}.size", size, decimals=UNIT_DECIMALS, positive=True)
            yield from number_faults(f"{where}.amount", amount)
        case Graduated(tiers) | Volume(tiers):
            yield from tier_faults(f"{where}.tiers", tiers)


def _plan_faults(where: str, plan: SavingsPlan, currency: str) -> Iterator[Fault]:
    yield from percent_faults(f"{where}.percent", plan.percent, below_all=True, zero=True)
    yield from _amount_faults(f"{where}.amount", plan.amount, None if plan.per is Per.HOUR else currency)


def _promise_faults(where: str, term: Commitment | Minimum, currency: str) -> Iterator[Fault]:
    yield from _amount_faults(f"{where}.amount", term.amount, currency)
    if isinstance(term, Commitment):
        yield from number_faults(f"{where}.earlier", term.earlier, signed=True)


def _discount_faults(where: str, discount: Discount, currency: str) -> Iterator[Fault]:
    if (discount.percent is None) == (discount.amount is None):
        yield Fault(where, "Give either a percentage or an amount.")
    elif discount.percent is not None:
        yield from percent_faults(f"{where}.percent", discount.percent)
    elif discount.amount is not None:
        yield from _amount_faults(f"{where}.amount", discount.amount, currency)


def _amount_faults(where: str, amount: Decimal, currency: str | None) -> Iterator[Fault]:
    faults = list(number_faults(where, amount, positive=True))
    coarse = fineness_fault(amount, currency) if currency and not faults else None
    yield from [*faults, Fault(where, coarse)] if coarse else faults
